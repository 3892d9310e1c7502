"""Gao et al., 2019, Res2Net: A New Multi-scale Backbone Architecture."""

from __future__ import annotations

from archfront.space.library.block.res2net import Res2Net
from archfront.space.library.operator.conv import Conv
from archfront.space.network import Network
from archfront.space.references import published
from archfront.space.references.resnet import residual_network

PAPER = Res2Net.paper
DEPTHS = (3, 4, 6, 3)


@published(
    "Res2Net-50 26w4s",
    paper=PAPER,
    params=25_699_120,
    gmacs=4.26,
    source="timm results, res2net50_26w_4s: 25.70 M parameters, 4.28 GMACs; paper: 25.7 M, 4.2 G",
)
def res2net50_26w4s(classes: int) -> Network:
    """Res2Net-50 with four chunks of 26 channels."""
    return residual_network(Res2Net(), DEPTHS, 256, classes)


@published(
    "Res2Net-50 48w2s",
    paper=PAPER,
    params=25_287_304,
    gmacs=4.16,
    source="timm results, res2net50_48w_2s: 25.29 M parameters, 4.18 GMACs",
)
def res2net50_48w2s(classes: int) -> Network:
    """Res2Net-50 with two chunks of 48 channels."""
    return residual_network(Res2Net(base_width=48, scale=2), DEPTHS, 256, classes)


@published(
    "Res2NeXt-50",
    paper=PAPER,
    params=24_671_464,
    gmacs=4.17,
    source="timm results, res2next50: 24.67 M parameters, 4.20 GMACs",
)
def res2next50(classes: int) -> Network:
    """Res2Net-50 with four chunks of eight groups of 4 channels."""
    return residual_network(Res2Net(base_width=4, operator=Conv(groups=8)), DEPTHS, 256, classes)

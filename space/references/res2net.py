"""Gao et al., 2019, Res2Net: A New Multi-scale Backbone Architecture."""

from __future__ import annotations

from functools import partial

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


published(
    "Res2Net-50 14w8s",
    paper=PAPER,
    params=25_059_816,
    gmacs=4.18,
    source="timm results, res2net50_14w_8s: 25.06 M parameters, 4.21 GMACs",
)(partial(residual_network, Res2Net(base_width=14, scale=8), DEPTHS, 256))
published(
    "Res2Net-50 26w6s",
    paper=PAPER,
    params=37_051_448,
    gmacs=6.3,
    source="timm results, res2net50_26w_6s: 37.05 M parameters, 6.33 GMACs",
)(partial(residual_network, Res2Net(scale=6), DEPTHS, 256))
published(
    "Res2Net-50 26w8s",
    paper=PAPER,
    params=48_403_776,
    gmacs=8.34,
    source="timm results, res2net50_26w_8s: 48.40 M parameters, 8.37 GMACs",
)(partial(residual_network, Res2Net(scale=8), DEPTHS, 256))
published(
    "Res2Net-101 26w4s",
    paper=PAPER,
    params=45_206_688,
    gmacs=8.07,
    source="timm results, res2net101_26w_4s: 45.21 M parameters, 8.10 GMACs",
)(partial(residual_network, Res2Net(), (3, 4, 23, 3), 256))

"""Hu et al., 2018, Squeeze-and-Excitation Networks: residual networks with a gate on every branch."""

from __future__ import annotations

from archfront.space.library.block.basic import BasicBlock
from archfront.space.library.block.bottleneck import Bottleneck
from archfront.space.library.gate.squeeze_excite import SqueezeExcite
from archfront.space.network import Network
from archfront.space.references import published
from archfront.space.references.resnet import residual_network

GATE = SqueezeExcite(ratio=1 / 16)


@published(
    "se_resnet18",
    paper=SqueezeExcite.paper,
    params=11_778_592,
    gmacs=1.82,
    source="timm results, legacy_seresnet18: 11.78 M parameters, 1.82 GMACs",
)
def se_resnet18(classes: int) -> Network:
    """SE-ResNet-18."""
    return residual_network(BasicBlock(gate=GATE), (2, 2, 2, 2), 64, classes)


@published(
    "se_resnet50",
    paper=SqueezeExcite.paper,
    params=28_088_024,
    gmacs=4.11,
    source="timm results, seresnet50: 28.09 M parameters, 4.11 GMACs",
)
def se_resnet50(classes: int) -> Network:
    """SE-ResNet-50 with the stride in the 3x3 convolution."""
    return residual_network(Bottleneck(gate=GATE), (3, 4, 6, 3), 256, classes)

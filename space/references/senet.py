"""Hu et al., 2018, Squeeze-and-Excitation Networks: residual networks with a gate on every branch."""

from __future__ import annotations

from functools import partial

from archfront.space.library.block.basic import BasicBlock
from archfront.space.library.block.bottleneck import Bottleneck
from archfront.space.library.gate.squeeze_excite import SqueezeExcite
from archfront.space.library.operator.conv import Conv
from archfront.space.network import Network
from archfront.space.references import published
from archfront.space.references.resnet import residual_network

GATE = SqueezeExcite(ratio=1 / 16)


@published(
    "SE-ResNet-18",
    paper=SqueezeExcite.paper,
    params=11_778_592,
    gmacs=1.82,
    source="timm results, legacy_seresnet18: 11.78 M parameters, 1.82 GMACs",
)
def se_resnet18(classes: int) -> Network:
    """SE-ResNet-18."""
    return residual_network(BasicBlock(gate=GATE), (2, 2, 2, 2), 64, classes)


@published(
    "SE-ResNet-50 (stride on 3x3)",
    paper=SqueezeExcite.paper,
    params=28_088_024,
    gmacs=4.11,
    source="timm results, seresnet50: 28.09 M parameters, 4.11 GMACs",
)
def se_resnet50(classes: int) -> Network:
    """SE-ResNet-50 with the stride in the 3x3 convolution."""
    return residual_network(Bottleneck(gate=GATE), (3, 4, 6, 3), 256, classes)


RESNEXT = Bottleneck(ratio=0.5, operator=Conv(groups=32), gate=GATE)
"""The bottleneck of ResNeXt 32x4d."""

published(
    "SE-ResNet-34",
    paper=SqueezeExcite.paper,
    params=21_958_868,
    gmacs=3.67,
    source="timm results, legacy_seresnet34: 21.96 M parameters, 3.67 GMACs",
)(partial(residual_network, BasicBlock(gate=GATE), (3, 4, 6, 3), 64))
published(
    "SE-ResNet-101",
    paper=SqueezeExcite.paper,
    params=49_326_872,
    gmacs=7.81,
    source="timm counts 49.33 M parameters; ResNet-101's 7.80 G and the gates",
)(partial(residual_network, Bottleneck(gate=GATE), (3, 4, 23, 3), 256))
published(
    "SE-ResNeXt-50 32x4d",
    paper=SqueezeExcite.paper,
    params=27_559_896,
    gmacs=4.25,
    source="authors' repository: 27.56 M parameters, 4.25 G",
)(partial(residual_network, RESNEXT, (3, 4, 6, 3), 256))
published(
    "SE-ResNeXt-101 32x4d",
    paper=SqueezeExcite.paper,
    params=48_955_416,
    gmacs=8.0,
    source="authors' repository: 48.96 M parameters, 8.00 G",
)(partial(residual_network, RESNEXT, (3, 4, 23, 3), 256))

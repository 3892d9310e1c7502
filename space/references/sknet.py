"""Li et al., 2019, Selective Kernel Networks."""

from __future__ import annotations

from functools import partial

from archfront.space.library.block.basic import BasicBlock
from archfront.space.library.block.bottleneck import Bottleneck
from archfront.space.library.operator.conv import Conv
from archfront.space.library.operator.selective_kernel import SelectiveKernel
from archfront.space.network import Network
from archfront.space.references import published
from archfront.space.references.resnet import residual_network

PAPER = SelectiveKernel.paper
UNIT = Bottleneck(ratio=0.5, operator=SelectiveKernel(groups=32))
SPLIT = BasicBlock(operator=SelectiveKernel(ratio=1 / 8, min_hidden=16, split_input=True), second=Conv())


@published(
    "SKNet-50",
    paper=PAPER,
    params=27_479_784,
    gmacs=4.47,
    source="authors' table: 27.5 M parameters, 4.47 G; timm results, skresnext50_32x4d: 27.48 M parameters, 4.50 GMACs",
)
def sknet50(classes: int) -> Network:
    """SKNet-50: ResNeXt-50 32x4d with selective kernels."""
    return residual_network(UNIT, (3, 4, 6, 3), 256, classes)


@published(
    "SKNet-101",
    paper=PAPER,
    params=48_736_040,
    gmacs=8.46,
    source="authors' network file; their table prints 48.9 M parameters (and 44.3 M for ResNeXt-101, which has 44.2 M), "
    "8.46 G",
)
def sknet101(classes: int) -> Network:
    """SKNet-101: ResNeXt-101 32x4d with selective kernels."""
    return residual_network(UNIT, (3, 4, 23, 3), 256, classes)


@published(
    "SK-ResNet-18 (split)",
    paper=PAPER,
    params=11_958_056,
    gmacs=1.81,
    source="timm results, skresnet18: 11.96 M parameters, 1.82 GMACs",
)
def sk_resnet18(classes: int) -> Network:
    """ResNet-18 whose first convolutions select among kernels that each see half of the channels."""
    return residual_network(SPLIT, (2, 2, 2, 2), 64, classes)


@published(
    "SK-ResNet-50 (split)",
    paper=PAPER,
    params=25_803_160,
    gmacs=4.09,
    source="timm, skresnet50: 25.80 M parameters",
)
def sk_resnet50(classes: int) -> Network:
    """ResNet-50 whose 3x3 convolutions select among kernels that each see half of the channels."""
    operator = SelectiveKernel(ratio=1 / 16, min_hidden=8, split_input=True)
    return residual_network(Bottleneck(operator=operator), (3, 4, 6, 3), 256, classes)


published(
    "SK-ResNet-34 (split)",
    paper=PAPER,
    params=22_282_376,
    gmacs=3.66,
    source="timm results, skresnet34: 22.28 M parameters, 3.67 GMACs",
)(partial(residual_network, SPLIT, (3, 4, 6, 3), 64))

"""Xie et al., 2017, Aggregated Residual Transformations for Deep Neural Networks."""

from __future__ import annotations

from archfront.space.library.block.bottleneck import Bottleneck
from archfront.space.library.operator.conv import Conv
from archfront.space.network import Network
from archfront.space.references import published
from archfront.space.references.resnet import TORCHVISION, residual_network
from archfront.space.spec import Paper

PAPER = Paper(
    title="Aggregated Residual Transformations for Deep Neural Networks",
    authors="Saining Xie, Ross Girshick, Piotr Dollár, Zhuowen Tu, Kaiming He",
    year=2017,
)


@published("resnext50_32x4d", paper=PAPER, params=25_028_904, gmacs=4.23, source=TORCHVISION)
def resnext50_32x4d(classes: int) -> Network:
    """ResNeXt-50 with 32 groups of 4 channels in the first stage."""
    return residual_network(Bottleneck(ratio=0.5, operator=Conv(groups=32)), (3, 4, 6, 3), 256, classes)

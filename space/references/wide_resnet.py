"""Zagoruyko and Komodakis, 2016, Wide Residual Networks."""

from __future__ import annotations

from archfront.space.library.block.bottleneck import Bottleneck
from archfront.space.library.block.wide_basic import WideBasic
from archfront.space.library.head.classifier import Classifier
from archfront.space.library.stem.convolution import ConvStem
from archfront.space.network import Network, Stage
from archfront.space.references import published
from archfront.space.references.resnet import TORCHVISION, residual_network
from archfront.space.types import Image

PAPER = WideBasic.paper
CIFAR = Image(3, 32, 32)


def wide_network(depth: int, factor: int, classes: int) -> Network:
    """WRN-`depth`-`factor` for images of 32x32: three stages of (depth - 4) / 6 blocks."""
    return Network(
        stem=ConvStem(width=16, kernel=3, stride=1, norm="none", activation="none"),
        stages=tuple(
            Stage(width=width * factor, depth=(depth - 4) // 6, stride=stride, block=WideBasic())
            for width, stride in ((16, 1), (32, 2), (64, 2))
        ),
        head=Classifier(classes=classes, norm="batch", activation="relu"),
    )


@published(
    "wrn_16_4", paper=PAPER, params=2_748_890, gmacs=None, source="paper: 2.7 M parameters", input=CIFAR, classes=10
)
def wrn_16_4(classes: int) -> Network:
    """WRN-16-4."""
    return wide_network(16, 4, classes)


@published(
    "wrn_28_10", paper=PAPER, params=36_479_194, gmacs=None, source="paper: 36.5 M parameters", input=CIFAR, classes=10
)
def wrn_28_10(classes: int) -> Network:
    """WRN-28-10."""
    return wide_network(28, 10, classes)


@published(
    "wrn_40_4", paper=PAPER, params=8_949_210, gmacs=None, source="paper: 8.9 M parameters", input=CIFAR, classes=10
)
def wrn_40_4(classes: int) -> Network:
    """WRN-40-4."""
    return wide_network(40, 4, classes)


@published("wide_resnet50_2", paper=PAPER, params=68_883_240, gmacs=11.398, source=TORCHVISION)
def wide_resnet50_2(classes: int) -> Network:
    """ResNet-50 with 3x3 convolutions of twice the width."""
    return residual_network(Bottleneck(ratio=0.5), (3, 4, 6, 3), 256, classes)

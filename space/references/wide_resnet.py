"""Zagoruyko and Komodakis, 2016, Wide Residual Networks."""

from __future__ import annotations

from functools import partial

from archfront.space.library.block.basic import BasicBlock
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
PRINTED = "paper: {} M parameters; it prints no multiply-adds"


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


@published("WRN-16-4", paper=PAPER, params=2_748_890, gmacs=None, source=PRINTED.format("2.7"), input=CIFAR, classes=10)
def wrn_16_4(classes: int) -> Network:
    """WRN-16-4."""
    return wide_network(16, 4, classes)


@published(
    "WRN-28-10", paper=PAPER, params=36_479_194, gmacs=None, source=PRINTED.format("36.5"), input=CIFAR, classes=10
)
def wrn_28_10(classes: int) -> Network:
    """WRN-28-10."""
    return wide_network(28, 10, classes)


@published("WRN-40-4", paper=PAPER, params=8_949_210, gmacs=None, source=PRINTED.format("8.9"), input=CIFAR, classes=10)
def wrn_40_4(classes: int) -> Network:
    """WRN-40-4."""
    return wide_network(40, 4, classes)


@published("WRN-50-2-bottleneck", paper=PAPER, params=68_883_240, gmacs=11.398, source=TORCHVISION)
def wide_resnet50_2(classes: int) -> Network:
    """ResNet-50 with 3x3 convolutions of twice the width."""
    return residual_network(Bottleneck(ratio=0.5), (3, 4, 6, 3), 256, classes)


def register(name: str, params: int, printed: str, depth: int, factor: int) -> None:
    """One more network for CIFAR-10; `printed` are the paper's millions of parameters."""
    source = PRINTED.format(printed)
    published(name, paper=PAPER, params=params, gmacs=None, source=source, input=CIFAR, classes=10)(
        partial(wide_network, depth, factor)
    )


register("WRN-40-2", 2_243_546, "2.2", 40, 2)
register("WRN-16-8", 10_961_370, "11.0", 16, 8)
register("WRN-22-8", 17_158_106, "17.2", 22, 8)
register("WRN-40-8", 35_748_314, "35.7", 40, 8)
register("WRN-28-12", 52_517_850, "52.5", 28, 12)


def widened(depths: tuple[int, ...], factor: float, classes: int) -> Network:
    """The ResNet of basic blocks of these depths for ImageNet, all stages `factor` times as wide."""
    return residual_network(BasicBlock(), depths, int(64 * factor), classes)


published("WRN-18-1.5", paper=PAPER, params=25_875_816, gmacs=None, source=PRINTED.format("25.9"))(
    partial(widened, (2, 2, 2, 2), 1.5)
)
published("WRN-18-2.0", paper=PAPER, params=45_618_216, gmacs=None, source=PRINTED.format("45.6"))(
    partial(widened, (2, 2, 2, 2), 2.0)
)
published("WRN-34-1.5", paper=PAPER, params=48_613_608, gmacs=None, source=PRINTED.format("48.6"))(
    partial(widened, (3, 4, 6, 3), 1.5)
)

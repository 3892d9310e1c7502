"""Wang et al., 2020, Deep High-Resolution Representation Learning for Visual Recognition: the classifiers."""

from __future__ import annotations

from functools import partial

from archfront.space.library.block.bottleneck import Bottleneck
from archfront.space.library.block.plain import PlainConv
from archfront.space.library.head.cascade_classifier import CascadeClassifier
from archfront.space.library.stem.convolution import ConvStem
from archfront.space.library.topology.high_resolution import HighResolution
from archfront.space.network import Network, Stage
from archfront.space.references import published

PAPER = HighResolution.paper
SOURCE = "authors' repository: {} M parameters; timm results, {}: {} GMACs with normalisations; multiply-adds counted"


def hrnet(
    width: int, modules: tuple[int, ...], blocks: int, classes: int, first_width: int = 256, first_depth: int = 4
) -> Network:
    """A stage of bottlenecks at a quarter of the image, then parallel streams, then a cascade down to one vector."""
    return Network(
        stem=ConvStem(width=64),
        stages=(
            Stage(width=64, stride=2, block=PlainConv()),
            Stage(width=first_width, depth=first_depth, block=Bottleneck()),
            HighResolution(width=width, modules=modules, blocks=blocks),
        ),
        head=CascadeClassifier(classes=classes),
    )


@published(
    "HRNet-W18-C-Small-v1",
    paper=PAPER,
    params=13_187_464,
    gmacs=1.6,
    source=SOURCE.format("13.2", "hrnet_w18_small", "1.61"),
)
def hrnet_w18_small_v1(classes: int) -> Network:
    """HRNet-W18-C-Small-v1."""
    return hrnet(16, (1, 1, 1), 2, classes, first_width=128, first_depth=1)


@published(
    "HRNet-W18-C-Small-v2",
    paper=PAPER,
    params=15_597_464,
    gmacs=2.6,
    source=SOURCE.format("15.6", "hrnet_w18_small_v2", "2.62"),
)
def hrnet_w18_small_v2(classes: int) -> Network:
    """HRNet-W18-C-Small-v2."""
    return hrnet(18, (1, 3, 2), 2, classes, first_depth=2)


@published("HRNet-W18-C", paper=PAPER, params=21_299_004, gmacs=4.28, source=SOURCE.format("21.3", "hrnet_w18", "4.32"))
def hrnet_w18(classes: int) -> Network:
    """HRNet-W18-C."""
    return hrnet(18, (1, 4, 3), 4, classes)


@published("HRNet-W32-C", paper=PAPER, params=41_232_680, gmacs=8.92, source=SOURCE.format("41.2", "hrnet_w32", "8.97"))
def hrnet_w32(classes: int) -> Network:
    """HRNet-W32-C."""
    return hrnet(32, (1, 4, 3), 4, classes)


published("HRNet-W30-C", paper=PAPER, params=37_712_220, gmacs=8.11, source=SOURCE.format("37.7", "hrnet_w30", "8.15"))(
    partial(hrnet, 30, (1, 4, 3), 4)
)
published(
    "HRNet-W40-C", paper=PAPER, params=57_557_160, gmacs=12.69, source=SOURCE.format("57.6", "hrnet_w40", "12.75")
)(partial(hrnet, 40, (1, 4, 3), 4))

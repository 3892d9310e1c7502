"""Yu et al., 2018, Deep Layer Aggregation."""

from __future__ import annotations

from functools import partial

from archfront.space.library.block.aggregation_tree import AggregationTree
from archfront.space.library.block.plain import PlainConv
from archfront.space.library.block.pooled_residual import PooledResidual
from archfront.space.library.head.classifier import Classifier
from archfront.space.library.operator.conv import Conv
from archfront.space.library.stem.convolution import ConvStem
from archfront.space.network import Network, Stage
from archfront.space.references import published
from archfront.space.spec import StridedBlock

PAPER = PooledResidual.paper
SOURCE = "timm results, {}: {} M parameters, {} GMACs with normalisations"

COMPACT = (16, 32, 64, 64, 128, 256)
WIDE = (16, 32, 128, 256, 512, 1024)


def aggregated(
    block: StridedBlock, depths: tuple[int, ...], widths: tuple[int, ...], classes: int, root_residual: bool = False
) -> Network:
    """Two plain convolutions, then trees of these depths; all stages but the first halve the map."""
    first, second, *wide = widths
    trees = (
        AggregationTree(depth=depth, block=block, root_residual=root_residual, level_root=i > 0)
        for i, depth in enumerate(depths)
    )
    return Network(
        stem=ConvStem(width=first, kernel=7, stride=1),
        stages=(
            Stage(width=first, block=PlainConv()),
            Stage(width=second, stride=2, block=PlainConv()),
            *(Stage(width=width, stride=2, block=tree) for width, tree in zip(wide, trees, strict=True)),
        ),
        head=Classifier(classes=classes),
    )


@published("DLA-34", paper=PAPER, params=15_742_104, gmacs=3.06, source=SOURCE.format("dla34", "15.74", "3.07"))
def dla_34(classes: int) -> Network:
    """DLA-34."""
    return aggregated(PooledResidual(), (1, 2, 2, 1), (16, 32, 64, 128, 256, 512), classes)


@published("DLA-46-C", paper=PAPER, params=1_301_400, gmacs=0.574, source=SOURCE.format("dla46_c", "1.30", "0.58"))
def dla_46_c(classes: int) -> Network:
    """DLA-46-C, compact."""
    return aggregated(PooledResidual(ratio=0.5), (1, 2, 2, 1), COMPACT, classes)


@published("DLA-X-60-C", paper=PAPER, params=1_319_832, gmacs=0.581, source=SOURCE.format("dla60x_c", "1.32", "0.59"))
def dla_x_60_c(classes: int) -> Network:
    """DLA-X-60-C: compact, with groups."""
    return aggregated(PooledResidual(ratio=1.0, operator=Conv(groups=32)), (1, 2, 3, 1), COMPACT, classes)


@published("DLA-60", paper=PAPER, params=22_036_632, gmacs=4.24, source=SOURCE.format("dla60", "22.04", "4.26"))
def dla_60(classes: int) -> Network:
    """DLA-60."""
    return aggregated(PooledResidual(ratio=0.5), (1, 2, 3, 1), WIDE, classes)


published("DLA-X-46-C", paper=PAPER, params=1_068_440, gmacs=0.533, source=SOURCE.format("dla46x_c", "1.07", "0.54"))(
    partial(aggregated, PooledResidual(ratio=1.0, operator=Conv(groups=32)), (1, 2, 2, 1), COMPACT)
)
published("DLA-X-60", paper=PAPER, params=17_352_344, gmacs=3.52, source=SOURCE.format("dla60x", "17.35", "3.54"))(
    partial(aggregated, PooledResidual(ratio=1.0, operator=Conv(groups=32)), (1, 2, 3, 1), WIDE)
)
published("DLA-102", paper=PAPER, params=33_268_888, gmacs=7.16, source=SOURCE.format("dla102", "33.27", "7.19"))(
    partial(aggregated, PooledResidual(ratio=0.5), (1, 3, 4, 1), WIDE, root_residual=True)
)
published("DLA-X-102", paper=PAPER, params=26_309_272, gmacs=5.85, source=SOURCE.format("dla102x", "26.31", "5.89"))(
    partial(aggregated, PooledResidual(ratio=1.0, operator=Conv(groups=32)), (1, 3, 4, 1), WIDE, root_residual=True)
)
published("DLA-169", paper=PAPER, params=53_389_720, gmacs=11.56, source=SOURCE.format("dla169", "53.39", "11.6"))(
    partial(aggregated, PooledResidual(ratio=0.5), (2, 3, 5, 1), WIDE, root_residual=True)
)

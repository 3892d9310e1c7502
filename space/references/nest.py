"""Zhang et al., 2022, Nested Hierarchical Transformer."""

from __future__ import annotations

from archfront.space.library.block.absolute_position import AbsolutePosition
from archfront.space.library.block.metaformer import MetaFormer
from archfront.space.library.channel_mixer.feed_forward import FeedForward
from archfront.space.library.downsample.conv_pooling import ConvPoolDownsample
from archfront.space.library.head.classifier import Classifier
from archfront.space.library.mixer.multi_query_attention import MultiQueryAttention
from archfront.space.library.mixer.partition_attention import PartitionAttention
from archfront.space.library.stem.patch import PatchStem
from archfront.space.network import Network, Stage
from archfront.space.references import published
from archfront.space.spec import Downsample, Mixer

PAPER = ConvPoolDownsample.paper
SOURCE = "paper: {} M parameters; timm results, {}: {} M; multiply-adds counted with timm, those of attention included"


def nested(
    width: int,
    heads: int,
    depths: tuple[int, ...],
    classes: int,
    *,
    patch: int = 4,
    extent: int = 14,
    growth: int = 2,
    multi_query: bool = False,
    aggregation: Downsample = ConvPoolDownsample(),  # noqa: B008 - immutable
    expand: float = 4.0,
) -> Network:
    """Levels of attention inside blocks of `extent` positions; between them the map is halved, so that blocks merge.

    Args:
        width: of the first level.
        heads: of the first level.
        depths: transformer blocks of each level. An image of patch * extent * 2^(levels - 1) pixels is one block at last.
        classes: number of scores.
        patch: extent of the patches.
        extent: of the blocks of attention.
        growth: width and heads of a level over those of the level before.
        multi_query: whether all heads share keys and values.
        aggregation: what halves the map.
        expand: hidden width of the perceptrons over the width.
    """

    def level(index: int, depth: int) -> Stage:
        mixer: Mixer = (
            MultiQueryAttention(extent=extent, heads=heads * growth**index)
            if multi_query
            else PartitionAttention(partition="window", extent=extent, heads=heads * growth**index, position="none")
        )
        block = MetaFormer(mixer=mixer, channel_mixer=FeedForward(expand=expand))
        return Stage(
            width=width * growth**index,
            stride=1 if index == 0 else 2,
            downsample=None if index == 0 else aggregation,
            blocks=(AbsolutePosition(), *(block,) * depth),
        )

    return Network(
        stem=PatchStem(width=width, patch=patch),
        stages=tuple(level(index, depth) for index, depth in enumerate(depths)),
        head=Classifier(classes=classes, norm="layer"),
    )


@published("NesT-T", paper=PAPER, params=17_057_608, gmacs=5.81, source=SOURCE.format("17", "nest_tiny_jx", "17.06"))
def nest_t(classes: int) -> Network:
    """NesT-T."""
    return nested(96, 3, (2, 2, 8), classes)


@published("NesT-S", paper=PAPER, params=38_351_176, gmacs=10.32, source=SOURCE.format("38", "nest_small_jx", "38.35"))
def nest_s(classes: int) -> Network:
    """NesT-S."""
    return nested(96, 3, (2, 2, 20), classes)

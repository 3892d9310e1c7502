"""Hu et al., 2025, Demystify Transformers & Convolutions in Modern Image Deep Networks: one architecture, any mixer."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import cycle, islice

from archfront.space.library.block.absolute_position import AbsolutePosition
from archfront.space.library.block.metaformer import MetaFormer
from archfront.space.library.block.normalization import Normalization
from archfront.space.library.channel_mixer.feed_forward import FeedForward
from archfront.space.library.downsample.convolution import ConvDownsample
from archfront.space.library.head.classifier import Classifier
from archfront.space.library.mixer.deformable_aggregation import DeformableAggregation
from archfront.space.library.mixer.halo_attention import HaloAttention
from archfront.space.library.mixer.projected import ProjectedMixer
from archfront.space.library.mixer.spatial_reduction_attention import SpatialReductionAttention
from archfront.space.library.mixer.window_attention import WindowAttention
from archfront.space.library.stem.double_convolution import DoubleConvStem
from archfront.space.network import Network, Stage
from archfront.space.references import published
from archfront.space.spec import Block, Mixer

PAPER = ProjectedMixer.paper
SOURCE = "authors' code: {} M parameters, {} GMACs"
CONFIGURATION = "the authors' configuration; their table says about {} M parameters"


def unified(
    mixers: Callable[[int], Mixer | tuple[Mixer, ...]],
    widths: tuple[int, ...],
    depths: tuple[int, ...],
    classes: int,
    expands: tuple[float, ...] = (4.0, 4.0, 4.0, 4.0),
    positions: bool = False,
) -> Network:
    """Stages of transformer blocks around the mixer that `mixers` gives for the number of each stage.

    Args:
        mixers: from the number of a stage, counted from 0, to its mixer; several take turns.
        widths: of the stages.
        depths: of the stages.
        classes: number of scores.
        expands: hidden width of the perceptrons over the width, a stage.
        positions: whether every stage begins with a learnt vector a position.
    """

    def stage(index: int) -> Stage:
        given = mixers(index)
        turns = islice(cycle(given if isinstance(given, tuple) else (given,)), depths[index])
        mlp = FeedForward(expand=expands[index])
        blocks = tuple(MetaFormer(mixer=mixer, channel_mixer=mlp, layer_scale=1e-6) for mixer in turns)
        entry: tuple[Block, ...] = (AbsolutePosition(),) if positions else ()
        return Stage(
            width=widths[index],
            stride=1 if index == 0 else 2,
            downsample=None if index == 0 else ConvDownsample(norm="layer"),
            blocks=(*entry, *blocks, Normalization()),
        )

    return Network(
        stem=DoubleConvStem(width=widths[0], norm="layer", last_norm="layer"),
        stages=tuple(map(stage, range(len(depths)))),
        head=Classifier(classes=classes, features=3 * widths[-1] // 2, norm="batch", activation="gelu"),
    )


def doubling(width: int) -> tuple[int, ...]:
    """The widths of four stages."""
    return tuple(width * 2**i for i in range(4))


def halo_attention(stage: int) -> Mixer:
    """7x7 positions and 3 around them, heads of 32 channels."""
    return HaloAttention(block=7, halo=3, head_dim=32)


def depthwise(stage: int) -> Mixer:
    """A depthwise 7x7 convolution between two projections."""
    return ProjectedMixer()


def spatial_reduction(stage: int) -> Mixer:
    """Tiles of 8, 4, 2 and 1 positions; 1, 2, 5 and 8 heads."""
    return SpatialReductionAttention(ratio=2 ** (3 - stage), heads=(1, 2, 5, 8)[stage])


def shifted_window(stage: int) -> tuple[Mixer, ...]:
    """Windows of 7x7 positions, moved by half their extent in every second block; heads of 32 channels."""
    return WindowAttention(head_dim=32), WindowAttention(head_dim=32, shift=True)


def deformable(stage: int) -> Mixer:
    """Nine moved taps in groups of 16 channels."""
    return DeformableAggregation(head_dim=16)


@published("U-ConvNeXt-micro", paper=PAPER, params=4_439_624, gmacs=0.65, source=SOURCE.format("4.44", "0.65"))
def u_convnext_micro(classes: int) -> Network:
    """U-ConvNeXt-micro."""
    return unified(depthwise, doubling(32), (3, 3, 8, 3), classes)


@published("U-ConvNeXt-tiny", paper=PAPER, params=31_912_360, gmacs=5.0, source=SOURCE.format("31.91", "5.0"))
def u_convnext_tiny(classes: int) -> Network:
    """U-ConvNeXt-tiny."""
    return unified(depthwise, doubling(96), (2, 2, 9, 2), classes)


@published("U-HaloNet-micro", paper=PAPER, params=4_389_672, gmacs=0.86, source=SOURCE.format("4.39", "0.86"))
def u_halonet_micro(classes: int) -> Network:
    """U-HaloNet-micro."""
    return unified(halo_attention, doubling(32), (2, 2, 9, 2), classes)


@published("U-HaloNet-tiny", paper=PAPER, params=31_523_176, gmacs=5.3, source=SOURCE.format("31.52", "5.3"))
def u_halonet_tiny(classes: int) -> Network:
    """U-HaloNet-tiny."""
    return unified(halo_attention, doubling(96), (2, 2, 6, 2), classes)


def u_pvt(
    widths: tuple[int, ...], depths: tuple[int, ...], classes: int, expands: tuple[float, ...] = (8.0, 8.0, 4.0, 4.0)
) -> Network:
    """Spatial reduction behind learnt positions."""
    return unified(spatial_reduction, widths, depths, classes, expands=expands, positions=True)


@published("U-PVT-tiny", paper=PAPER, params=31_157_736, gmacs=4.7, source=SOURCE.format("31.16", "4.7"))
def u_pvt_tiny(classes: int) -> Network:
    """U-PVT-tiny."""
    return u_pvt((64, 128, 320, 512), (3, 4, 9, 3), classes)


published("U-PVT-micro", paper=PAPER, params=4_454_056, gmacs=None, source=CONFIGURATION.format("4.5"))(
    partial(u_pvt, (32, 64, 160, 256), (2, 2, 3, 2))
)
published("U-PVT-small", paper=PAPER, params=50_887_656, gmacs=None, source=CONFIGURATION.format("50"))(
    partial(u_pvt, (64, 128, 320, 512), (3, 4, 21, 3))
)
published("U-ConvNeXt-small", paper=PAPER, params=54_393_640, gmacs=None, source=CONFIGURATION.format("50"))(
    partial(unified, depthwise, doubling(96), (2, 2, 24, 2))
)
published("U-HaloNet-small", paper=PAPER, params=52_831_336, gmacs=None, source=CONFIGURATION.format("50"))(
    partial(unified, halo_attention, doubling(96), (2, 2, 18, 2))
)
published("U-Swin-micro", paper=PAPER, params=4_381_042, gmacs=0.7, source=SOURCE.format("4.4", "0.71"))(
    partial(unified, shifted_window, doubling(32), (2, 2, 9, 2))
)
published("U-Swin-tiny", paper=PAPER, params=31_540_546, gmacs=4.88, source=SOURCE.format("31.5", "4.91"))(
    partial(unified, shifted_window, doubling(96), (2, 2, 6, 2))
)
published("U-Swin-small", paper=PAPER, params=52_867_666, gmacs=9.13, source=SOURCE.format("52.9", "9.18"))(
    partial(unified, shifted_window, doubling(96), (2, 2, 18, 2))
)
published("U-InternImage-micro", paper=PAPER, params=4_302_692, gmacs=None, source=CONFIGURATION.format("4.5"))(
    partial(unified, deformable, doubling(32), (2, 2, 9, 2))
)
published("U-InternImage-tiny", paper=PAPER, params=29_933_272, gmacs=None, source=CONFIGURATION.format("30"))(
    partial(unified, deformable, doubling(64), (4, 4, 18, 4))
)
published("U-InternImage-small", paper=PAPER, params=50_082_280, gmacs=None, source=CONFIGURATION.format("50"))(
    partial(unified, deformable, doubling(80), (4, 4, 21, 4))
)

"""Hu et al., 2025, Demystify Transformers & Convolutions in Modern Image Deep Networks: one architecture, any mixer."""

from __future__ import annotations

from collections.abc import Callable

from archfront.space.library.block.absolute_position import AbsolutePosition
from archfront.space.library.block.metaformer import MetaFormer
from archfront.space.library.block.normalization import Normalization
from archfront.space.library.channel_mixer.feed_forward import FeedForward
from archfront.space.library.downsample.convolution import ConvDownsample
from archfront.space.library.head.classifier import Classifier
from archfront.space.library.mixer.halo_attention import HaloAttention
from archfront.space.library.mixer.projected import ProjectedMixer
from archfront.space.library.mixer.spatial_reduction_attention import SpatialReductionAttention
from archfront.space.library.stem.double_convolution import DoubleConvStem
from archfront.space.network import Network, Stage
from archfront.space.references import published
from archfront.space.spec import Block, Mixer

PAPER = ProjectedMixer.paper
SOURCE = "authors' code: {} M parameters, {} GMACs"


def unified(
    mixers: Callable[[int], Mixer],
    widths: tuple[int, ...],
    depths: tuple[int, ...],
    classes: int,
    expands: tuple[float, ...] = (4.0, 4.0, 4.0, 4.0),
    positions: bool = False,
) -> Network:
    """Stages of transformer blocks around the mixer that `mixers` gives for the number of each stage.

    Args:
        mixers: from the number of a stage, counted from 0, to its mixer.
        widths: of the stages.
        depths: of the stages.
        classes: number of scores.
        expands: hidden width of the perceptrons over the width, a stage.
        positions: whether every stage begins with a learnt vector a position.
    """

    def stage(index: int) -> Stage:
        mlp = FeedForward(expand=expands[index])
        block = MetaFormer(mixer=mixers(index), channel_mixer=mlp, layer_scale=1e-6)
        entry: tuple[Block, ...] = (AbsolutePosition(),) if positions else ()
        return Stage(
            width=widths[index],
            stride=1 if index == 0 else 2,
            downsample=None if index == 0 else ConvDownsample(norm="layer"),
            blocks=(*entry, *(block,) * depths[index], Normalization()),
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


@published("U-PVT-tiny", paper=PAPER, params=31_157_736, gmacs=4.7, source=SOURCE.format("31.16", "4.7"))
def u_pvt_tiny(classes: int) -> Network:
    """U-PVT-tiny."""
    return unified(
        spatial_reduction, (64, 128, 320, 512), (3, 4, 9, 3), classes, expands=(8.0, 8.0, 4.0, 4.0), positions=True
    )

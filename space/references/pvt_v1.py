"""Wang et al., 2021, Pyramid Vision Transformer: A Versatile Backbone for Dense Prediction without Convolutions."""

from __future__ import annotations

from functools import partial

from archfront.space.library.block.absolute_position import AbsolutePosition
from archfront.space.library.block.metaformer import MetaFormer
from archfront.space.library.block.normalization import Normalization
from archfront.space.library.channel_mixer.conv_feed_forward import ConvFeedForward
from archfront.space.library.channel_mixer.feed_forward import FeedForward
from archfront.space.library.downsample.class_token import ClassToken
from archfront.space.library.downsample.patch import PatchDownsample
from archfront.space.library.head.classifier import Classifier
from archfront.space.library.head.token_classifier import TokenClassifier
from archfront.space.library.mixer.spatial_reduction_attention import SpatialReductionAttention
from archfront.space.library.stem.patch import PatchStem
from archfront.space.network import Network, Stage
from archfront.space.references import published

PAPER = SpatialReductionAttention.paper
WIDTHS = (64, 128, 320, 512)
HEADS = (1, 2, 5, 8)
RATIOS = (8, 4, 2, 1)


def pyramid(
    depths: tuple[int, ...],
    classes: int,
    *,
    widths: tuple[int, ...] = WIDTHS,
    expands: tuple[int, ...] = (8, 8, 4, 4),
    pool: int | None = None,
    overlapping: bool = False,
    positions: bool = True,
    convolving: bool = False,
    normalising: bool = False,
    class_token: bool = True,
) -> Network:
    """A pyramid of transformer stages; the switches lead from PVT, as they stand, one by one to PVT v2.

    Args:
        depths: blocks of each stage.
        classes: number of scores.
        widths: channels of each stage.
        expands: hidden width over width of each stage's perceptrons.
        pool: regions that linear attention averages over; None takes strided convolutions.
        overlapping: patches overlap.
        positions: every stage adds learnt positions.
        convolving: perceptrons hold a depthwise convolution.
        normalising: every stage ends in layer norm.
        class_token: the last stage has a token that the classifier reads; otherwise it reads the mean.
    """
    stages = []
    for i, (width, depth, heads, ratio, expand) in enumerate(zip(widths, depths, HEADS, RATIOS, expands, strict=True)):
        plain, local = FeedForward(expand=expand), ConvFeedForward(expand=expand, rectify=pool is not None)
        block = MetaFormer(
            mixer=SpatialReductionAttention(ratio=ratio, pool=pool, heads=heads),
            channel_mixer=local if convolving else plain,
        )
        patches = PatchDownsample(kernel=3 if overlapping else None)
        before = (AbsolutePosition(),) if positions else ()
        after = (Normalization(),) if normalising else ()
        last = i == len(depths) - 1
        stages.append(
            Stage(
                width=width,
                stride=1 if i == 0 else 2,
                downsample=None if i == 0 else ClassToken(downsample=patches) if class_token and last else patches,
                blocks=(*before, *(block,) * depth, *after),
            )
        )
    patch = PatchStem(width=widths[0], patch=4, kernel=7, padding=3, norm="layer")
    return Network(
        stem=patch if overlapping else PatchStem(width=widths[0], patch=4, norm="layer"),
        stages=tuple(stages),
        head=TokenClassifier(classes=classes)
        if class_token
        else Classifier(classes=classes, norm="none" if normalising else "layer"),
    )


@published(
    "PVT-Tiny",
    paper=PAPER,
    params=13_229_288,
    gmacs=1.93,
    source="authors' repository: 13.2 M parameters, 1.9 G",
)
def pvt_tiny(classes: int) -> Network:
    """PVT-Tiny."""
    return pyramid((2, 2, 2, 2), classes)


@published(
    "PVT-Medium",
    paper=PAPER,
    params=44_208_104,
    gmacs=6.66,
    source="authors' repository: 44.2 M parameters, 6.7 G",
)
def pvt_medium(classes: int) -> Network:
    """PVT-Medium."""
    return pyramid((3, 4, 18, 3), classes)


published(
    "PVT-Small", paper=PAPER, params=24_485_864, gmacs=3.82, source="authors' repository: 24.5 M parameters, 3.8 G"
)(partial(pyramid, (3, 4, 6, 3)))

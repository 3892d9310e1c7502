"""Wu et al., 2021, CvT: Introducing Convolutions to Vision Transformers."""

from __future__ import annotations

from archfront.space.library.block.metaformer import MetaFormer
from archfront.space.library.channel_mixer.quick_feed_forward import QuickFeedForward
from archfront.space.library.downsample.grid_class_token import GridClassToken
from archfront.space.library.downsample.patch import PatchDownsample
from archfront.space.library.head.token_classifier import TokenClassifier
from archfront.space.library.mixer.conv_projection_attention import ConvProjectionAttention
from archfront.space.library.stem.patch import PatchStem
from archfront.space.network import Network, Stage
from archfront.space.references import published

PAPER = ConvProjectionAttention.paper


def cvt(
    depths: tuple[int, int, int],
    classes: int,
    *,
    widths: tuple[int, int, int] = (64, 192, 384),
    heads: tuple[int, int, int] = (1, 3, 6),
) -> Network:
    """Three stages behind overlapping patches; the last one has a class token, which the classifier reads."""
    patches = PatchDownsample(kernel=3)
    first, second, third = (
        MetaFormer(mixer=ConvProjectionAttention(heads=n), channel_mixer=QuickFeedForward()) for n in heads
    )
    return Network(
        stem=PatchStem(width=widths[0], patch=4, kernel=7, padding=2, norm="layer"),
        stages=(
            Stage(width=widths[0], depth=depths[0], block=first),
            Stage(width=widths[1], depth=depths[1], stride=2, downsample=patches, block=second),
            Stage(
                width=widths[2], depth=depths[2], stride=2, downsample=GridClassToken(downsample=patches), block=third
            ),
        ),
        head=TokenClassifier(classes=classes),
    )


@published(
    "CvT-13",
    paper=PAPER,
    params=19_997_480,
    gmacs=4.57,
    source="paper: 20 M parameters, 4.5 G; counted on the authors' code: 19.997 M, 4.57 G",
)
def cvt_13(classes: int) -> Network:
    """CvT-13."""
    return cvt((1, 2, 10), classes)


@published(
    "CvT-21",
    paper=PAPER,
    params=31_622_696,
    gmacs=7.18,
    source="paper: 32 M parameters, 7.1 G; counted on the authors' code: 31.62 M, 7.18 G",
)
def cvt_21(classes: int) -> Network:
    """CvT-21."""
    return cvt((1, 4, 16), classes)

"""Yang et al., 2023, MOAT: Alternating Mobile Convolution and Attention Brings Strong Vision Models."""

from __future__ import annotations

from functools import partial

from archfront.space.library.block.moat import MOAT
from archfront.space.library.block.prenorm_mbconv import PreNormMBConv
from archfront.space.library.head.pooled_classifier import PooledClassifier
from archfront.space.library.mixer.relative_bias_attention import RelativeBiasAttention
from archfront.space.library.stem.double_convolution import DoubleConvStem
from archfront.space.network import Network, Stage
from archfront.space.references import published
from archfront.space.types import Image

PAPER = MOAT.paper
TINY = Image(3, 256, 256)
DEPTHS = (2, 3, 7, 2)


def attention(grid: int) -> MOAT:
    """A block whose table of offsets is made for a map of `grid` x `grid` positions, that of an image of 224 x 224."""
    return MOAT(mixer=RelativeBiasAttention(grid=grid, head_dim=32))


def moat(stem: int, width: int, classes: int, depths: tuple[int, ...] = DEPTHS) -> Network:
    """Two stages of inverted residuals and two of MOAT blocks, of `width` to 8 `width` channels."""
    blocks = (PreNormMBConv(), PreNormMBConv(), attention(14), attention(7))
    return Network(
        stem=DoubleConvStem(width=stem, hidden=stem, strides=(2, 1), last_norm="none"),
        stages=tuple(
            Stage(width=width * 2**i, stride=2, depth=depth, block=block)
            for i, (depth, block) in enumerate(zip(depths, blocks, strict=True))
        ),
        head=PooledClassifier(classes=classes, norm="layer"),
    )


@published(
    "tiny-MOAT-0",
    paper=PAPER,
    params=3_355_348,
    gmacs=1.04,
    source="authors' repository: 3.4 M parameters, 1.1 G",
    input=TINY,
)
def tiny_moat_0(classes: int) -> Network:
    """tiny-MOAT-0."""
    return moat(32, 32, classes)


@published(
    "tiny-MOAT-1",
    paper=PAPER,
    params=5_122_895,
    gmacs=1.58,
    source="authors' repository: 5.1 M parameters, 1.6 G",
    input=TINY,
)
def tiny_moat_1(classes: int) -> Network:
    """tiny-MOAT-1."""
    return moat(40, 40, classes)


@published(
    "tiny-MOAT-2",
    paper=PAPER,
    params=9_772_741,
    gmacs=2.97,
    source="authors' repository: 9.8 M parameters, 3.0 G",
    input=TINY,
)
def tiny_moat_2(classes: int) -> Network:
    """tiny-MOAT-2."""
    return moat(56, 56, classes)


@published(
    "MOAT-0",
    paper=PAPER,
    params=27_846_892,
    gmacs=5.64,
    source="authors' repository: 27.8 M parameters, 5.7 G",
)
def moat_0(classes: int) -> Network:
    """MOAT-0."""
    return moat(64, 96, classes)


published(
    "tiny-MOAT-3", paper=PAPER, params=19_534_390, gmacs=4.46, source="paper: 19.5 M parameters, 4.5 G for 224 pixels"
)(partial(moat, 80, 80))
published(
    "MOAT-1",
    paper=PAPER,
    params=41_598_448,
    gmacs=9.0,
    source="authors' repository: 41.6 M parameters, 9.1 G with normalisations",
)(partial(moat, 64, 96, depths=(2, 6, 14, 2)))

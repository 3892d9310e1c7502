"""Springenberg et al., 2015, Striving for Simplicity: The All Convolutional Net."""

from __future__ import annotations

from archfront.space.library.block.plain import PlainConv
from archfront.space.library.head.conv_classifier import ConvClassifier
from archfront.space.library.stem.plain import PlainStem
from archfront.space.network import Network, Stage
from archfront.space.references import published
from archfront.space.types import Image

PAPER = PlainConv.paper
CIFAR = Image(3, 32, 32)
CONV = PlainConv(norm="none")
POINTWISE = PlainConv(kernel=1, norm="none")
SHRINKING = PlainConv(norm="none", dropout=0.5)
STEM = PlainStem(width=96, dropout=0.2)


@published(
    "All-CNN-C",
    paper=PAPER,
    params=1_369_738,
    gmacs=0.271,
    source="paper: 1.4 M parameters; counted from its list of layers",
    input=CIFAR,
    classes=10,
)
def all_cnn_c(classes: int) -> Network:
    """All-CNN-C: convolutions with stride 2 where model C pools."""
    return Network(
        stem=STEM,
        stages=(
            Stage(width=96, block=CONV),
            Stage(width=96, stride=2, block=SHRINKING),
            Stage(width=192, depth=2, block=CONV),
            Stage(width=192, stride=2, block=SHRINKING),
            Stage(width=192, blocks=(PlainConv(norm="none", padding="valid"), POINTWISE)),
        ),
        head=ConvClassifier(classes=classes),
    )


@published(
    "Strided-CNN-C",
    paper=PAPER,
    params=954_730,
    gmacs=0.111,
    source="paper: 1 M parameters; counted from its list of layers",
    input=CIFAR,
    classes=10,
)
def strided_cnn_c(classes: int) -> Network:
    """Strided-CNN-C: model C without pooling; the convolutions in front of it have stride 2."""
    return Network(
        stem=STEM,
        stages=(
            Stage(width=96, stride=2, block=SHRINKING),
            Stage(width=192, block=CONV),
            Stage(width=192, stride=2, block=SHRINKING),
            Stage(width=192, blocks=(CONV, POINTWISE)),
        ),
        head=ConvClassifier(classes=classes),
    )

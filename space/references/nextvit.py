"""Li et al., 2022, Next-ViT: Next Generation Vision Transformer for Efficient Deployment in Realistic Scenarios."""

from __future__ import annotations

from functools import partial

from archfront.space.library.block.next_vit import NextConv, NextTransformer
from archfront.space.library.head.classifier import Classifier
from archfront.space.library.stem.deep import DeepStem
from archfront.space.network import Network, Stage
from archfront.space.references import published

PAPER = NextConv.paper
CONVOLUTION = NextConv(head_dim=32)


def attention(ratio: int) -> NextTransformer:
    """A transformer block whose keys and values are averages over ratio^2 tokens."""
    return NextTransformer(ratio=ratio, head_dim=32)


def group(convolutions: int, widths: tuple[int, int], ratio: int, stride: int = 1) -> tuple[Stage, Stage]:
    """Convolution blocks of the first width and one transformer block of the second."""
    return (
        Stage(width=widths[0], stride=stride, depth=convolutions, block=CONVOLUTION),
        Stage(width=widths[1], block=attention(ratio)),
    )


def nextvit(groups: int, classes: int) -> Network:
    """Groups of convolution blocks that a transformer block ends: none, one, `groups` and one in the four stages."""
    return Network(
        stem=DeepStem(width=64, hidden=(64, 32, 64), strides=(2, 1, 1, 2)),
        stages=(
            Stage(width=96, depth=3, block=CONVOLUTION),
            *group(3, (192, 256), ratio=4, stride=2),
            *(stage for i in range(groups) for stage in group(4, (384, 512), ratio=2, stride=2 if i == 0 else 1)),
            *group(2, (768, 1024), ratio=1, stride=2),
        ),
        head=Classifier(classes=classes, norm="batch"),
    )


@published(
    "Next-ViT-S",
    paper=PAPER,
    params=31_763_368,
    gmacs=5.8,
    source="paper: 31.7 M parameters, 5.8 G; timm results, nextvit_small: 31.76 M, 5.81 GMACs",
)
def nextvit_s(classes: int) -> Network:
    """Next-ViT-S."""
    return nextvit(2, classes)


@published(
    "Next-ViT-L",
    paper=PAPER,
    params=57_874_344,
    gmacs=10.8,
    source="paper: 57.8 M parameters, 10.8 G; timm results, nextvit_large: 57.87 M, 10.78 GMACs",
)
def nextvit_l(classes: int) -> Network:
    """Next-ViT-L."""
    return nextvit(6, classes)


published(
    "Next-ViT-B",
    paper=PAPER,
    params=44_818_856,
    gmacs=8.27,
    source="paper: 44.8 M parameters, 8.3 G; timm results, nextvit_base: 44.82 M, 8.29 GMACs",
)(partial(nextvit, 4))

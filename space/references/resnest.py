"""Zhang et al., 2020, ResNeSt: Split-Attention Networks."""

from __future__ import annotations

from functools import partial

from archfront.space.library.block.resnest import ResNeSt
from archfront.space.library.head.classifier import Classifier
from archfront.space.library.stem.deep import DeepStem
from archfront.space.network import Network, Stage
from archfront.space.references import published
from archfront.space.types import Image

PAPER = ResNeSt.paper


def resnest(depths: tuple[int, ...], classes: int, block: ResNeSt | None = None, stem: int = 32) -> Network:
    """Four stages of 256 to 2048 channels behind three 3x3 convolutions of `stem`, `stem` and 2 `stem` channels."""
    return Network(
        stem=DeepStem(width=2 * stem, hidden=(stem, stem), pool=True),
        stages=tuple(
            Stage(width=256 * 2**i, depth=depth, stride=1 if i == 0 else 2, block=block or ResNeSt())
            for i, depth in enumerate(depths)
        ),
        head=Classifier(classes=classes),
    )


@published(
    "ResNeSt-14d",
    paper=PAPER,
    params=10_611_688,
    gmacs=2.75,
    source="timm results, resnest14d: 10.61 M parameters, 2.76 GMACs",
)
def resnest14d(classes: int) -> Network:
    """ResNeSt-14d: one block a stage."""
    return resnest((1, 1, 1, 1), classes)


@published(
    "ResNeSt-50d",
    paper=PAPER,
    params=27_483_240,
    gmacs=5.37,
    source="timm results, resnest50d: 27.48 M parameters, 5.40 GMACs; paper: 27.5 M, 5.39 G",
)
def resnest50d(classes: int) -> Network:
    """ResNeSt-50."""
    return resnest((3, 4, 6, 3), classes)


@published(
    "ResNeSt-50d-4s2x40d",
    paper=PAPER,
    params=30_417_592,
    gmacs=4.37,
    source="timm results, resnest50d_4s2x40d: 30.42 M parameters, 4.40 GMACs",
)
def resnest50d_4s2x40d(classes: int) -> Network:
    """ResNeSt-50 with four splits, two groups of 40 channels, pooled before the convolution."""
    return resnest((3, 4, 6, 3), classes, ResNeSt(radix=4, cardinality=2, base_width=40, pool="before"))


published(
    "ResNeSt-26d",
    paper=PAPER,
    params=17_069_448,
    gmacs=3.62,
    source="timm results, resnest26d: 17.07 M parameters, 3.64 GMACs",
)(partial(resnest, (2, 2, 2, 2)))
published(
    "ResNeSt-50d-1s4x24d",
    paper=PAPER,
    params=25_677_000,
    gmacs=4.4,
    source="timm results, resnest50d_1s4x24d: 25.68 M parameters, 4.43 GMACs",
)(partial(resnest, (3, 4, 6, 3), block=ResNeSt(radix=1, cardinality=4, base_width=24, pool="before")))
published(
    "ResNeSt-101e",
    paper=PAPER,
    params=48_275_016,
    gmacs=13.32,
    source="timm results, resnest101e: 48.28 M parameters, 13.38 GMACs",
    input=Image(3, 256, 256),
)(partial(resnest, (3, 4, 23, 3), stem=64))

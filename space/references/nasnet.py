"""Zoph et al., 2018, Learning Transferable Architectures for Scalable Image Recognition: NASNet-A."""

from __future__ import annotations

from archfront.space.library.head.pyramid_classifier import PyramidClassifier
from archfront.space.library.stem.plain import PlainStem
from archfront.space.library.topology.cells import Cells
from archfront.space.network import Network
from archfront.space.references import published
from archfront.space.types import Image

PAPER = Cells.paper


def nasnet(repeats: int, penultimate: int, classes: int, stem: int, skip_reduction: bool = False) -> Network:
    """NASNet-A (repeats @ penultimate) for ImageNet; `penultimate` is the width of the last output, 24 F."""
    return Network(
        stem=PlainStem(width=stem, stride=2, padding="valid", norm="batch", activation="none"),
        stages=(Cells(width=penultimate // 24, repeats=repeats, stem_cells=2, skip_reduction=skip_reduction),),
        head=PyramidClassifier(classes=classes, dropout=0.5),
    )


def nasnet_cifar(repeats: int, penultimate: int, classes: int) -> Network:
    """NASNet-A (repeats @ penultimate) for images of 32 pixels."""
    width = penultimate // 24
    return Network(
        stem=PlainStem(width=3 * width, norm="batch", activation="none"),
        stages=(Cells(width=width, repeats=repeats),),
        head=PyramidClassifier(classes=classes),
    )


@published(
    "NASNet-A (6 @ 768)",
    paper=PAPER,
    params=3_328_234,
    gmacs=None,
    source="paper: 3.3 M parameters, no multiply-adds",
    input=Image(3, 32, 32),
    classes=10,
)
def nasnet_a_6_768(classes: int) -> Network:
    """The network for CIFAR-10 with 32 filters in the first cells."""
    return nasnet_cifar(6, 768, classes)


@published(
    "NASNet-A (4 @ 1056)",
    paper=PAPER,
    params=5_289_978,
    gmacs=0.564,
    source="paper: 5.3 M parameters, 564 M multiply-adds; Keras counts 5,289,978 trainable parameters",
)
def nasnet_a_4_1056(classes: int) -> Network:
    """The mobile network: 44 filters in the first cells behind the stem."""
    return nasnet(4, 1056, classes, stem=32)


@published(
    "NASNet-A (6 @ 4032)",
    paper=PAPER,
    params=88_753_150,
    gmacs=23.78,
    source="paper: 88.9 M parameters, 23.8 G; timm, nasnetalarge: 88.75 M, 23.89 GMACs with normalisations",
    input=Image(3, 331, 331),
)
def nasnet_a_6_4032(classes: int) -> Network:
    """The large network: 168 filters in the first cells behind the stem, skipping inputs of reductions."""
    return nasnet(6, 4032, classes, stem=96, skip_reduction=True)

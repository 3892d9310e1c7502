"""Li et al., 2021, Involution: Inverting the Inherence of Convolution for Visual Recognition: RedNets."""

from __future__ import annotations

from functools import partial

from archfront.space.library.block.bottleneck import Bottleneck
from archfront.space.library.head.classifier import Classifier
from archfront.space.library.operator.involution import Involution
from archfront.space.library.stem.involution import InvolutionStem
from archfront.space.network import Network, Stage
from archfront.space.references import published


def rednet(depths: tuple[int, int, int, int], classes: int) -> Network:
    """A ResNet whose stem and bottlenecks involve instead of convolving."""
    block = Bottleneck(operator=Involution())
    return Network(
        stem=InvolutionStem(width=64),
        stages=tuple(
            Stage(width=256 * 2**i, depth=depth, stride=2 if i else 1, block=block) for i, depth in enumerate(depths)
        ),
        head=Classifier(classes=classes),
    )


@published(
    "RedNet-26",
    paper=Involution.paper,
    params=9_233_166,
    gmacs=None,
    source="authors' table: 9.23 M parameters, 1.73 G, activations and normalisation included",
)
def rednet26(classes: int) -> Network:
    """RedNet-26."""
    return rednet((1, 2, 4, 1), classes)


@published(
    "RedNet-50",
    paper=Involution.paper,
    params=15_540_806,
    gmacs=None,
    source="authors' table: 15.54 M parameters, 2.71 G, activations and normalisation included",
)
def rednet50(classes: int) -> Network:
    """RedNet-50."""
    return rednet((3, 4, 6, 3), classes)


published(
    "RedNet-38",
    paper=Involution.paper,
    params=12_386_986,
    gmacs=None,
    source="authors' table: 12.39 M parameters, 2.22 G, activations and normalisation included",
)(partial(rednet, (2, 3, 5, 2)))
published(
    "RedNet-101",
    paper=Involution.paper,
    params=25_652_950,
    gmacs=None,
    source="authors' table: 25.65 M parameters, 4.74 G, activations and normalisation included",
)(partial(rednet, (3, 4, 23, 3)))
published(
    "RedNet-152",
    paper=Involution.paper,
    params=33_984_582,
    gmacs=None,
    source="authors' table: 33.99 M parameters, 6.79 G, activations and normalisation included",
)(partial(rednet, (3, 8, 36, 3)))

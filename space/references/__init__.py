"""Reference architectures: published networks as architectures, with their published figures. One file a paper."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass

from archfront.space.architecture import Architecture
from archfront.space.errors import SpecError, nearest
from archfront.space.spec import Paper, Spec
from archfront.space.types import Feature, Image

MakeNetwork = Callable[[int], Spec]


@dataclass(frozen=True)
class Reference:
    """A published network.

    Args:
        name: its name in the field.
        paper: where it was published.
        params: number of trainable parameters with `classes` classes, to the last one; `source` may print fewer digits.
        gmacs: 10^9 multiply-adds of one image of type `input`; None where the source gives no figure.
        source: who published the figures, and as what where that is rounded.
        input: the image type that the figures are for.
        classes: the number of classes that the figures are for.
        network: the network for a number of classes.
    """

    name: str
    paper: Paper
    params: int
    gmacs: float | None
    source: str
    input: Feature
    classes: int
    network: MakeNetwork

    def architecture(self, input: Feature | None = None, classes: int | None = None) -> Architecture:
        """The network as an architecture: the published one, or for another image type or number of classes."""
        return Architecture(input or self.input, self.network(classes or self.classes))


references: dict[str, Reference] = {}
"""All reference architectures by name."""


def published(
    name: str,
    *,
    paper: Paper,
    params: int,
    gmacs: float | None,
    source: str,
    input: Feature = Image(3, 224, 224),  # noqa: B008 - immutable
    classes: int = 1000,
) -> Callable[[MakeNetwork], MakeNetwork]:
    """Register the decorated function, which makes a network for a number of classes, as the reference `name`."""

    def register(network: MakeNetwork) -> MakeNetwork:
        if name in references:
            raise SpecError(f"two reference architectures are called {name!r}")
        references[name] = Reference(name, paper, params, gmacs, source, input, classes, network)
        return network

    return register


def reference(name: str) -> Reference:
    """The reference architecture called `name`; capitals, dashes and the like do not matter ("resnet50", "ResNet-50")."""
    if name in references:
        return references[name]
    alike = [known for known in references if _plain(known) == _plain(name)]
    if len(alike) != 1:
        raise SpecError(f"unknown reference architecture {name!r}{nearest(name, alike or references)}")
    return references[alike[0]]


def _plain(name: str) -> str:
    return "".join(filter(str.isalnum, name)).casefold()


for _found in pkgutil.iter_modules(__path__, f"{__name__}."):
    importlib.import_module(_found.name)

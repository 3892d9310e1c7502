"""What the specs that take or yield several resolutions share."""

from __future__ import annotations

from itertools import pairwise

from archfront.space.errors import ShapeError
from archfront.space.spec import Spec
from archfront.space.types import Feature, FeatureType, Pyramid


def halving(spec: Spec, x: FeatureType) -> tuple[Feature, ...]:
    """The levels of a pyramid, once it is sure that each has half the size, rounded up, of the one before."""
    if not isinstance(x, Pyramid):
        raise ShapeError(f"{type(spec).__name__} takes several resolutions, got {x}; put a topology in front of it")
    for fine, coarse in pairwise(x.levels):
        wanted = fine.at(coarse.channels, 2)
        if coarse != wanted:
            raise ShapeError(f"{type(spec).__name__} takes levels that halve: behind {fine} {wanted}, got {coarse}")
    return x.levels

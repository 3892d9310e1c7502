"""Sampling within bounds, against enumeration of small spaces."""

import random
import zlib

import numpy as np
import pytest

from archfront.space.architecture import Architecture
from archfront.space.domains import int_range, one_of
from archfront.space.errors import SpaceError
from archfront.space.library.block.mbconv import MBConv
from archfront.space.library.head.classifier import Classifier
from archfront.space.library.stem.convolution import ConvStem
from archfront.space.limits import Bounds
from archfront.space.network import Network, Stage
from archfront.space.space import Space
from archfront.space.spec import Spec
from archfront.space.types import FeatureType, Image

SMALL = Space(
    Image(3, 8, 8),
    Network(
        stem=ConvStem(width=one_of(4, 6, 8)),
        stages=(
            Stage(width=one_of(4, 8), depth=int_range(1, 3), block=MBConv(kernel=one_of(3, 5))),
            Stage(width=one_of(8, 12), depth=int_range(1, 2), stride=2, block=MBConv(expand=one_of(1.0, 2.0))),
        ),
        head=Classifier(classes=2),
    ),
)
METRICS = 3


def cost(spec: Spec, x: FeatureType) -> tuple[float, ...]:
    """Costs that have nothing to do with each other: what one bound allows says nothing about the others."""
    text = f"{spec!r} {x!r}".encode()
    return tuple(float(zlib.crc32(text, metric) % 1000) for metric in range(METRICS))


def total(architecture: Architecture) -> np.ndarray:
    return np.sum([cost(part.spec, part.input) for part in architecture.parts], axis=0)


EVERY = list(SMALL)
TOTALS = np.array([total(architecture) for architecture in EVERY])


@pytest.mark.parametrize("seed", range(60))
def test_walk_within_bounds_succeeds_exactly_where_enumeration_finds_something(seed: int) -> None:
    """Bounds on one to three unrelated metrics, upper, lower or both, which leave a handful of architectures or none."""
    rng = np.random.default_rng(seed)
    high, low = np.full(METRICS, np.inf), np.full(METRICS, -np.inf)
    centre = TOTALS[rng.integers(len(EVERY))] if seed % 2 else np.quantile(TOTALS, rng.uniform(0, 0.4, METRICS), axis=0)
    centre = np.diag(centre) if centre.ndim == 2 else centre
    for metric in rng.choice(METRICS, rng.integers(1, METRICS + 1), replace=False):
        high[metric] = centre[metric] + rng.integers(0, 100)
        if rng.random() < 0.3:
            low[metric] = centre[metric] - rng.integers(0, 100)
    inside = ((high >= TOTALS) & (low <= TOTALS)).all(axis=1)
    bounds = Bounds(cost, low, high)
    assert list(SMALL.within(bounds)) == [EVERY[i] for i in np.flatnonzero(inside)]
    if inside.any():
        found = SMALL.sample(seed, bounds=bounds)
        assert inside[EVERY.index(found)]
        assert inside[EVERY.index(SMALL.mutate(EVERY[0], seed, bounds=bounds))]
    else:
        with pytest.raises(SpaceError, match="no architecture of the space keeps all bounds together"):
            SMALL.sample(seed, bounds=bounds)


def test_every_architecture_within_bounds_is_drawn() -> None:
    high = np.quantile(TOTALS, 0.2, axis=0)
    inside = {EVERY[i] for i in np.flatnonzero((high >= TOTALS).all(axis=1))}
    assert 3 <= len(inside) <= 100
    rng = random.Random(0)
    bounds = Bounds(cost, np.full(METRICS, -np.inf), high)
    assert {SMALL.sample(rng, bounds=bounds) for _ in range(100 * len(inside))} == inside


def test_dead_ends_found_under_tight_bounds_do_not_close_what_wider_bounds_allow() -> None:
    """What is given up is kept by the bounds that it was given up under."""
    none = np.full(METRICS, -np.inf)
    with pytest.raises(SpaceError):
        SMALL.sample(0, bounds=Bounds(cost, none, TOTALS.min(axis=0) + 1))
    SMALL.sample(0, bounds=Bounds(cost, none, TOTALS.max(axis=0)))

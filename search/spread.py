"""Drawing architectures for an audit: spread over cost, or within a narrow band of it."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator

from archfront.hw_profiles.cost import cost
from archfront.space.architecture import Architecture
from archfront.space.errors import ArchfrontError, SpaceError
from archfront.space.limits import Bounds
from archfront.space.space import Space

POOL = 40
"""Random architectures for each that is wanted."""

Accepts = Callable[[Architecture], bool]


def spread_over_cost(
    space: Space,
    count: int,
    seed: int = 0,
    bounds: Bounds | None = None,
    accepts: Accepts | None = None,
    leaning: bool = True,
) -> list[Architecture]:
    """`count` distinct architectures whose multiply-adds divide the reachable range about evenly, on a log scale.

    For each of `count` costs from the least to the greatest of a pool the nearest one that is left is taken. With
    `leaning` each of the pool leans towards small or large options to a degree of its own, so that the pool reaches both
    ends of the space; what is large then is large in everything, and counting orders it well. Without, sites are drawn
    one by one.
    """
    source = _leaning(space, seed, bounds) if leaning else _random(space, random.Random(seed), bounds)
    pool = _distinct(source, count, accepts)
    logs = {architecture: math.log(cost(architecture).macs) for architecture in pool}
    low, high = min(logs.values()), max(logs.values())
    taken: list[Architecture] = []
    for i in range(count):
        wanted = low + (high - low) * i / max(1, count - 1)
        nearest = min(logs, key=lambda architecture: abs(logs[architecture] - wanted))
        taken.append(nearest)
        del logs[nearest]
    return taken


def within_band(
    space: Space, count: int, width: float, seed: int = 0, bounds: Bounds | None = None, accepts: Accepts | None = None
) -> list[Architecture]:
    """`count` distinct random architectures whose multiply-adds are within `width` (0.1: 10 %) of a typical one's.

    Raises:
        ArchfrontError: too few of the pool are.
    """
    rng = random.Random(seed)
    pool = _distinct(_random(space, rng, bounds), count, accepts)
    macs = sorted(cost(architecture).macs for architecture in pool)
    middle = macs[len(macs) // 2]
    near = [architecture for architecture in pool if abs(cost(architecture).macs / middle - 1) <= width]
    if len(near) < count:
        raise ArchfrontError(
            f"{len(near)} of {len(pool)} random architectures have multiply-adds within {width:.0%} of {middle:,}, and "
            f"{count} are wanted: ask for fewer, or a wider band"
        )
    return near[:count]


def _distinct(source: Iterator[Architecture], count: int, accepts: Accepts | None) -> list[Architecture]:
    """The distinct accepted ones among the next `POOL` for each that is wanted."""
    drawn = (next(source) for _ in range(POOL * count))
    pool = list(dict.fromkeys(a for a in drawn if accepts is None or accepts(a)))
    if len(pool) < count:
        raise ArchfrontError(
            f"only {len(pool)} architectures of the space within the budget were found, {count} wanted"
        )
    return pool


def _random(space: Space, rng: random.Random, bounds: Bounds | None) -> Iterator[Architecture]:
    while True:
        yield space.sample(rng, over="sites", bounds=bounds)


def _leaning(space: Space, seed: int, bounds: Bounds | None) -> Iterator[Architecture]:
    """Random architectures, each with its own inclination to small or large options at ordered sites."""
    rng = random.Random(seed)
    plain = _random(space, rng, bounds)
    while True:
        lean = rng.random()
        wanted = {
            path: sum(rng.random() < lean for _ in range(len(site.domain.options) - 1))
            for path, site in space.sites.items()
            if site.domain.ordered
        }
        try:
            found = space.closest(wanted, bounds, rng)
        except SpaceError:
            found = next(plain)  # the bounds exclude each other on this way
        yield found if not space.where or found in space else next(plain)

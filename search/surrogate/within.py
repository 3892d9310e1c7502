"""Candidates for the surrogate sampler that are architectures of a space and keep a budget."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from archfront.space.architecture import Architecture
from archfront.space.errors import SpaceError
from archfront.space.space import Space

from .candidates import MOVE, RANDOM, Candidate
from .sites import Params

if TYPE_CHECKING:
    from archfront.search.feasible import Region

NEAR = 96
"""Variations of front members for one proposal."""

FAR = 24
"""Random architectures for one proposal."""


class Within:
    """The source of a search: mutations, crossovers and random architectures inside the feasible set.

    Args:
        space: the space.
        region: what the budget leaves of it.
        metrics: the objectives.
        known: the metrics of an architecture that cost nothing to know; those among the objectives are not modelled.
    """

    def __init__(
        self,
        space: Space,
        region: Region,
        metrics: Sequence[str],
        known: Callable[[Architecture], Mapping[str, float]],
    ) -> None:
        self.space = space
        self.region = region
        self.metrics = metrics
        self.known = known
        self._index = {
            path: {label: i for i, label in enumerate(site.domain.labels)} for path, site in space.sites.items()
        }

    def __call__(self, parents: Sequence[Params], rng: np.random.Generator) -> list[Candidate]:
        """Candidates around the parents and some at random; fewer than asked for where the budget leaves few."""
        dice = random.Random(int(rng.integers(2**63)))
        near = list(map(self._architecture, parents))
        found: dict[Architecture, str] = {}
        for number in range(NEAR + FAR):
            try:
                if number >= NEAR:
                    new, origin = self.space.sample(dice, over="sites", bounds=self.region.bounds), RANDOM
                elif number % 4 == 3 and len(near) > 1:
                    new, origin = self.space.crossover(*_two(near, dice), dice, self.region.bounds), "crossover"
                else:
                    parent = near[number % len(near)]
                    changes, origin = (2, "two moves") if number % 4 == 2 else (1, MOVE)
                    new = self.space.mutate(parent, dice, changes, self.region.bounds)
            except SpaceError:
                continue  # this parent has no neighbour within the budget
            if self.region.accepts(new):
                found.setdefault(new, origin)
        return [self._candidate(architecture, origin) for architecture, origin in found.items()]

    def _architecture(self, params: Params) -> Architecture:
        """What the choices of a trial describe, brought into the budget as it was when it was evaluated."""
        wanted = {path: self._index[path][label] for path, label in params.items() if path in self._index}
        return self.space.closest(wanted, self.region.bounds)

    def _candidate(self, architecture: Architecture, origin: str) -> Candidate:
        known = self.known(architecture)
        values = tuple(float(known.get(name, np.nan)) for name in self.metrics)
        return Candidate(self.space.choices(architecture), origin, values)


def _two(parents: Sequence[Architecture], dice: random.Random) -> tuple[Architecture, Architecture]:
    first, second = dice.sample(parents, 2)
    return first, second

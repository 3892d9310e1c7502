"""Candidates for the surrogate sampler that are architectures of a space and keep a budget."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from archfront.space.architecture import Architecture
from archfront.space.domains import Domain
from archfront.space.errors import SpaceError
from archfront.space.resolve import Assignment
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

    Candidates are varied as picks (option indices by site); an architecture is made of each once, to know its cost.

    Args:
        space: the space.
        region: what the budget leaves of it.
        metrics: the objectives.
        known: the metrics of an architecture that cost nothing to know, those that the budget bounds among them. Models
            are told all of them; those among the objectives are not modelled.
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
        self._domains = {path: site.domain for path, site in space.sites.items()}
        self._index = {path: {label: i for i, label in enumerate(d.labels)} for path, d in self._domains.items()}

    def __call__(self, parents: Sequence[Params], rng: np.random.Generator) -> list[Candidate]:
        """Candidates around the parents and some at random; fewer than asked for where the budget leaves few."""
        dice = random.Random(int(rng.integers(2**63)))
        near = [self._picks(params) for params in parents]
        found: dict[tuple[tuple[str, int], ...], Candidate] = {}
        for number in range(NEAR + FAR):
            try:
                picks, origin = self._varied(near, number, dice)
            except SpaceError:
                continue  # this parent has no neighbour within the budget
            key = tuple(sorted(picks.items()))
            if key not in found and picks not in near:
                candidate = self._candidate(picks, origin)
                if candidate is not None:
                    found[key] = candidate
        return list(found.values())

    def costs(self, params: Params) -> tuple[float, ...]:
        """What is known of the architecture that the choices of a trial describe."""
        return _logarithms(self.known(self.space.at(self._picks(params))))

    def _varied(self, near: Sequence[Assignment], number: int, dice: random.Random) -> tuple[Assignment, str]:
        """The picks of one candidate, and how it came about."""
        if number >= NEAR:
            return self._walk({}, dice), RANDOM
        if number % 4 == 3 and len(near) > 1:
            first, second = dice.sample(near, 2)
            either = {
                site: dice.choice([p for p in (first, second) if site in p])[site] for site in {**first, **second}
            }
            return self._walk(either, dice), "crossover"
        parent = near[number % len(near)]
        changes, origin = (2, "two moves") if number % 4 == 2 else (1, MOVE)
        wanted = dict(parent)
        for site in dice.sample(list(parent), min(changes, len(parent))):
            wanted[site] = dice.choice([i for i in range(len(self._domains[site].options)) if i != parent[site]])
        return self._walk(wanted, dice), origin

    def _walk(self, wanted: Assignment, dice: random.Random | None = None) -> Assignment:
        """The picks nearest to those wanted that the budget leaves; where nothing is wanted random ones, or the first."""

        def choose(site: str, domain: Domain, feasible: Sequence[int]) -> int:
            if site in wanted:
                return min(feasible, key=lambda index: abs(index - wanted[site]))
            return dice.choice(feasible) if dice else feasible[0]

        return self.space.graph.walk(choose, self._domains, self.region.bounds)

    def _picks(self, params: Params) -> Assignment:
        """What the choices of a trial describe, brought into the budget as it was when it was evaluated."""
        wanted = {path: self._index[path][label] for path, label in params.items() if path in self._index}
        return self._walk(wanted)

    def _candidate(self, picks: Assignment, origin: str) -> Candidate | None:
        """None where a bound that does not add up over parts, or a predicate of the space, is broken."""
        architecture = self.space.at(picks)
        known = self.known(architecture)
        if self.region.budget.broken(known) or (self.space.where and architecture not in self.space):
            return None
        values = tuple(float(known.get(name, np.nan)) for name in self.metrics)
        params = {site: self._domains[site].labels[index] for site, index in picks.items()}
        return Candidate(params, origin, values, _logarithms(known))


def _logarithms(known: Mapping[str, float]) -> tuple[float, ...]:
    """Costs on the scale on which models take them in; 0 stays finite."""
    return tuple(math.log(max(value, 1e-9)) for _, value in sorted(known.items()))

"""What a budget leaves of a space: reachable ranges, bounds to sample within, and why nothing is left."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import cached_property

import numpy as np

from archfront.hw_profiles.metrics import METRICS
from archfront.space.architecture import Architecture
from archfront.space.errors import SpaceError
from archfront.space.limits import Bounds
from archfront.space.nodes import CostOf
from archfront.space.space import Space

from .budget import Bound, Budget, BudgetError


class Region:
    """The part of a space that keeps a budget, for metrics that add up over parts.

    Args:
        space: the space.
        budget: bounds; those on metrics outside `metrics` are not judged here.
        metrics: names of the additive metrics, in the order in which `cost` gives their summands.
        cost: the summands of one part.
        sums: for a metric whose value is not the sum itself (latency), the bound on the sum for a bound on the value.
        values: the metrics of an architecture, by which `accepts` has the last word.
        shown: the text for a metric and a sum of it, for messages.
        worth: the value of a metric at a sum of it, for messages; NaN where there is none.
    """

    def __init__(
        self,
        space: Space,
        budget: Budget,
        metrics: tuple[str, ...],
        cost: CostOf,
        sums: Mapping[str, Bound],
        values: Callable[[Architecture], Mapping[str, float]],
        shown: Callable[[str, float], str],
        worth: Callable[[str, float], float] = lambda name, total: total,
    ) -> None:
        self.space = space
        self.budget = budget
        self.metrics = metrics
        self.cost = cost
        self.sums = sums
        self.values = values
        self.shown = shown
        self.worth = worth

    def accepts(self, architecture: Architecture) -> bool:
        """Whether an architecture keeps every bound that can be judged before it is trained."""
        return not self.budget.broken(self.values(architecture))

    def _bound(self, name: str) -> Bound:
        return self.sums.get(name, self.budget[name])

    @cached_property
    def bounds(self) -> Bounds | None:
        """The bounds to sample within; None where the budget leaves the whole space."""
        low = np.array([self._bound(name).low for name in self.metrics])
        high = np.array([self._bound(name).high for name in self.metrics])
        if not np.isfinite(low).any() and not np.isfinite(high).any():
            return None
        return Bounds(self.cost, low, high)

    def reach(self) -> dict[str, tuple[float, float]]:
        """The exact least and greatest sum of each metric over the space."""
        low, high = self.space.graph.root.extremes(self.cost, len(self.metrics))
        return {name: (float(low[i]), float(high[i])) for i, name in enumerate(self.metrics)}

    def cheapest(self, name: str) -> Architecture:
        """The architecture with the least sum of a metric."""
        least = self.reach()[name][0]
        low = np.full(len(self.metrics), -math.inf)
        high = np.full(len(self.metrics), math.inf)
        high[self.metrics.index(name)] = least * (1 + 1e-9) + 1e-12
        return self.space.sample(0, bounds=Bounds(self.cost, low, high))

    def sums_of(self, architecture: Architecture) -> dict[str, float]:
        """The sum of each metric over the parts of an architecture."""
        total = np.sum([self.cost(part.spec, part.input) for part in architecture.parts], axis=0)
        return dict(zip(self.metrics, map(float, total), strict=True))

    def check(self) -> None:
        """Make sure that the budget leaves something.

        Raises:
            BudgetError: it does not: names the bound that excludes most, the nearest reachable architecture, and by how
                much the bound would have to move.
        """
        for name, (least, greatest) in self.reach().items():
            bound = self._bound(name)
            if least > bound.high or greatest < bound.low:
                raise BudgetError(self._alone(name, least if least > bound.high else greatest))
        if self.bounds is None:
            return
        try:
            self.space.sample(0, bounds=self.bounds)
        except SpaceError:
            raise BudgetError(self._together()) from None

    def _alone(self, name: str, reached: float) -> str:
        bound = self._bound(name)
        above = reached > bound.high
        text = f"no architecture of the space keeps {self._wanted(name)}: the {'least' if above else 'most'} that it reaches is "
        text += self.shown(name, reached)
        if name in METRICS:  # and no count that stands for one
            wanted, value = self.budget[name], self.worth(name, reached)
            text += "" if wanted.holds(value) else _distance(value, wanted.high if above else wanted.low)
        if above:
            text += f". Nearest architecture:\n{self._sketch(self.cheapest(name))}"
        return text

    def _wanted(self, name: str) -> str:
        """The bound as the user wrote it."""
        bound = self.budget[name] if name in METRICS else self.budget["peak_bytes"]
        return str(bound)

    def _sketch(self, architecture: Architecture) -> str:
        sums = self.sums_of(architecture)
        known = self.values(architecture)
        figures = [f"{name} {self.shown(name, value)}" for name, value in sums.items() if name in METRICS]
        figures += [
            f"{bound.metric} {bound.what.format(known[bound.metric])}"
            for bound in self.budget.bounds
            if bound.metric in known and bound.metric not in sums
        ]
        choices = ", ".join(f"{site}={label}" for site, label in self.space.choices(architecture).items())
        return f"  {', '.join(figures)}\n  {choices}"

    def _together(self) -> str:
        nearest, relaxed = self._relaxed()
        moves = [
            f"{self._wanted(name)} (it has {self.shown(name, value)})"
            for name, value in self.sums_of(nearest).items()
            if not self._bound(name).holds(value)
        ]
        return (
            f"each bound of the budget ({self.budget}) can be kept alone, but no architecture keeps all. With every bound "
            f"moved by the factor {1 + relaxed:.3f} there is one; it breaks {' and '.join(moves)}:\n{self._sketch(nearest)}"
        )

    def _relaxed(self) -> tuple[Architecture, float]:
        """An architecture near the budget, and by which share all bounds have to be loosened together to let it in."""
        self.space.sample(0, over="sites")  # raises where predicates refuse everything: no loosening would end
        tight, loose = 0.0, 1.0
        found = None
        while found is None:
            found = self._within(loose)
            tight, loose = (tight, loose) if found else (loose, 2 * loose)
        while loose - tight > 0.005 * loose:
            middle = (tight + loose) / 2
            nearer = self._within(middle)
            found, tight, loose = (nearer, tight, middle) if nearer else (found, middle, loose)
        return found, loose

    def _within(self, share: float) -> Architecture | None:
        """An architecture that keeps every bound once it is loosened by a share of itself."""
        low = np.array([self._bound(name).low / (1 + share) for name in self.metrics])
        high = np.array([self._bound(name).high * (1 + share) for name in self.metrics])
        try:
            return self.space.sample(0, bounds=Bounds(self.cost, low, high))
        except SpaceError:
            return None


def _distance(reached: float, limit: float) -> str:
    """How far a value is from the bound that it breaks, in words; nothing where that is no number."""
    times = reached / limit if limit else math.nan
    if not 0 < times < math.inf or limit == math.inf:
        return ""
    if times >= 3:
        return f", {times:,.0f} times the bound" if times >= 100 else f", {times:.3g} times the bound"
    return f", {abs(times - 1):.0%} {'above' if times > 1 else 'below'} the bound"

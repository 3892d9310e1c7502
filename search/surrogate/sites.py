"""Sites for models: the parameters of a study as levels, and levels as numbers whose products are similarities."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

Params = Mapping[str, Any]
"""The parameters of one candidate by name; a site that its other choices leave inactive is missing."""

Levels = NDArray[np.int64]
"""One row a candidate, one column a site: which of the site's levels it takes, -1 where it is inactive."""

Features = NDArray[np.float64]

GRID = 32
"""Steps into which the range of a site with more values is divided for the models; proposals are not rounded to it."""


@dataclass(frozen=True)
class Site:
    """One parameter.

    Args:
        distribution: Optuna's description of it.
        levels: how many different values the models tell apart.
        order: 1 where the distance of two levels counts, 0 where only whether they are equal does, 0.5 where nothing
            says which: categories that are ascending numbers may be sizes or codes.
    """

    distribution: Any
    levels: int
    order: float

    def level(self, value: Any) -> int:
        """The level that a value has."""
        internal = self.distribution.to_internal_repr(value)
        if self.order < 1:
            return int(internal)
        low, high, log = _range(self.distribution)
        if high == low:
            return 0
        scale = math.log if log else float
        share = (scale(internal) - scale(low)) / (scale(high) - scale(low))
        return min(max(round(share * (self.levels - 1)), 0), self.levels - 1)  # a range may have changed meanwhile

    @property
    def exact(self) -> bool:
        """Whether every value has a level of its own."""
        return self.order < 1 or (
            not self.distribution.log
            and self.distribution.step is not None
            and self.levels == _values(self.distribution)
        )

    def value(self, level: int, rng: np.random.Generator) -> Any:
        """The value of a level; where a level stands for several, a random one of them."""
        if self.order < 1:
            return self.distribution.choices[level]
        low, high, log = _range(self.distribution)
        step = self.distribution.step
        share = level / max(1, self.levels - 1)
        if not self.exact:
            share += (rng.random() - 0.5) / (self.levels - 1)
        share = min(max(share, 0.0), 1.0)
        value = math.exp(math.log(low) + share * math.log(high / low)) if log else low + share * (high - low)
        if step is not None:
            value = low + round((value - low) / step) * step
        value = min(max(value, low), high)
        return round(value) if self.whole else value

    @property
    def whole(self) -> bool:
        """Whether its values are integers."""
        from optuna.distributions import IntDistribution

        return isinstance(self.distribution, IntDistribution)

    @cached_property
    def embeddings(self) -> list[Features]:
        """Tables with rows of unit length, one a level and a last one for "inactive"; their products are similarities.

        Two levels are as similar as 1 less their distance on the scale where the site is ordered, or 1 and 0 for equal
        and not. Where that is unknown there is a table of each kind, and the models learn which of them counts.
        "Inactive" is similar to nothing but itself.
        """
        at = np.arange(self.levels)
        near = 1 - np.abs(at[:, None] - at) / max(1, self.levels - 1)
        kinds = {0.0: [np.eye(self.levels)], 0.5: [np.eye(self.levels), near], 1.0: [near]}
        return [_rows(similar) for similar in kinds[self.order]]


def _rows(similar: Features) -> Features:
    """Rows whose products are these similarities, and one more that is like none of them."""
    whole = np.eye(len(similar) + 1)
    whole[:-1, :-1] = similar
    values, vectors = np.linalg.eigh(whole)
    rows: Features = vectors * np.sqrt(np.maximum(values, 0))
    return rows


def site(distribution: BaseDistribution) -> Site:
    """The site that Optuna describes."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(distribution, CategoricalDistribution):
        numbers = [c for c in distribution.choices if isinstance(c, (int, float)) and not isinstance(c, bool)]
        ascending = len(numbers) == len(distribution.choices) > 2 and all(a < b for a, b in pairwise(numbers))
        return Site(distribution, len(distribution.choices), 0.5 if ascending else 0.0)
    assert isinstance(distribution, (IntDistribution, FloatDistribution))
    count = GRID + 1 if distribution.step is None or distribution.log else _values(distribution)
    return Site(distribution, min(count, GRID + 1), 1.0)


def _values(distribution: Any) -> int:
    """How many values a range with steps has."""
    return int(round((distribution.high - distribution.low) / distribution.step) + 1)


def _range(distribution: Any) -> tuple[float, float, bool]:
    return float(distribution.low), float(distribution.high), bool(distribution.log)


class Sites:
    """All parameters of a study, in a fixed order."""

    def __init__(self, distributions: Mapping[str, BaseDistribution]) -> None:
        self.by_name = {name: site(distribution) for name, distribution in distributions.items()}
        self._embeddings = [(i, table) for i, site in enumerate(self.by_name.values()) for table in site.embeddings]

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """How many levels each site has."""
        return np.array([site.levels for site in self.by_name.values()])

    @cached_property
    def ordered(self) -> NDArray[np.bool_]:
        """Which sites are ranges."""
        return np.array([site.order == 1 for site in self.by_name.values()])

    @cached_property
    def exact(self) -> bool:
        """Whether two candidates with the same levels are the same."""
        return all(site.exact for site in self.by_name.values())

    @cached_property
    def widths(self) -> NDArray[np.int64]:
        """How many features each table has; a site has one or two tables, side by side."""
        return np.array([table.shape[1] for _, table in self._embeddings])

    def levels(self, candidates: Sequence[Params]) -> Levels:
        """The levels of candidates; parameters that are no site are left out."""
        rows = np.full((len(candidates), len(self.by_name)), -1)
        for row, params in zip(rows, candidates, strict=True):
            for column, (name, site) in enumerate(self.by_name.items()):
                if name in params:
                    row[column] = site.level(params[name])
        return rows

    def params(self, levels: NDArray[np.int64], like: Params, rng: np.random.Generator) -> dict[str, Any]:
        """The candidate with these levels (d,), with the very values of another one wherever the levels agree."""
        found = {}
        for level, (name, site) in zip(levels.tolist(), self.by_name.items(), strict=True):
            if level >= 0:
                same = name in like and site.level(like[name]) == level
                found[name] = like[name] if same else site.value(level, rng)
        return found

    def features(self, levels: Levels) -> Features:
        """The features of candidates, (n, sum of `widths`)."""
        return np.hstack([table[levels[:, i]] for i, table in self._embeddings])

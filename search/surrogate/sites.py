"""Sites for models: the parameters of a study as levels, and levels as numbers whose products are similarities."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
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

Costs = NDArray[np.float64]
"""One row a candidate, one column a figure that is known before it is evaluated."""

GRID = 32
"""Steps into which the range of a site with more values is divided for the models; proposals are not rounded to it."""

COUNTED = 8
"""Most options of a site whose occurrences are counted over all sites that offer the same."""


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
        near = _near(self.levels)
        kinds = {0.0: [np.eye(self.levels)], 0.5: [np.eye(self.levels), near], 1.0: [near]}
        return [_rows(similar) for similar in kinds[self.order]]


def _near(levels: int) -> Features:
    """Similarities on a scale: 1 less the distance, as a share of the scale."""
    at = np.arange(levels)
    similar: Features = 1 - np.abs(at[:, None] - at) / max(1, levels - 1)
    return similar


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
    """All parameters of a study, in a fixed order, and what models are told of a candidate.

    Beside its level at every site that is how often each option is taken, over all sites that offer the same options
    (in a network of many alike places it often counts more what is there than where), and what is known of its cost.

    Args:
        distributions: Optuna's description of every parameter.
        costs: how many figures of a candidate are known before it is evaluated.
    """

    def __init__(self, distributions: Mapping[str, BaseDistribution], costs: int = 0) -> None:
        self.by_name = {name: site(distribution) for name, distribution in distributions.items()}
        self.costs = costs
        self._embeddings = [(i, table) for i, site in enumerate(self.by_name.values()) for table in site.embeddings]
        self._totals = [(columns, option, _rows(_near(len(columns) + 1))) for columns, option in self._alike()]
        self._scale = _rows(_near(GRID + 1))

    def _alike(self) -> Iterator[tuple[list[int], int]]:
        """The columns of sites that offer the same categories, where there are several; once for each option."""
        groups: dict[str, list[int]] = {}
        for column, site in enumerate(self.by_name.values()):
            if site.order < 1 and 1 < site.levels <= COUNTED:
                groups.setdefault(repr(site.distribution.choices), []).append(column)
        for columns in groups.values():
            if len(columns) > 1:
                yield from ((columns, option) for option in range(self.counts[columns[0]]))

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
        """How many features each table has; a site has one or two tables, every total and every cost has one."""
        tables = [table for _, table in self._embeddings] + [table for *_, table in self._totals]
        return np.array([table.shape[1] for table in tables + [self._scale] * self.costs])

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

    def features(self, levels: Levels, shares: Costs | None = None) -> Features:
        """The features of candidates, (n, sum of `widths`).

        Args:
            shares: (n, costs) what is known of them, each figure as a share of its range; needed where `costs` is not 0.
        """
        found = [table[levels[:, i]] for i, table in self._embeddings]
        found += [table[(levels[:, columns] == option).sum(axis=1)] for columns, option, table in self._totals]
        if shares is not None:
            at = np.clip(np.round(shares * GRID), 0, GRID).astype(int)
            found += [self._scale[column] for column in at.T]
        return np.hstack(found)

"""What a study has seen, as arrays, brought up to date by reading only the trials that are new."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .sites import Costs, Features, Levels, Params, Sites

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from optuna.distributions import BaseDistribution
    from optuna.study import Study
    from optuna.trial import FrozenTrial

Values = NDArray[np.float64]

SPREAD = "archfront:spread"
"""The user attribute of a trial with the half-width of the 95 % interval of each of its values, None where exact."""


INTERVAL = 1.96
"""Standard errors in half a 95 % interval."""


class History:
    """The finished and running trials of a study. Objectives are turned so that less is better.

    A trial is *usable* if all its values are finite, and *good* if it breaks no constraint besides. What it takes to
    read a trial does not grow with the number of trials.

    Args:
        study: the study.
        costs: figures of a candidate that are known before it is evaluated, equally many of each; None where there are
            none.
    """

    def __init__(self, study: Study, costs: Callable[[Params], Sequence[float]] | None = None) -> None:
        from optuna.study import StudyDirection

        objectives = len(study.directions)
        self.signs = np.array([-1.0 if d == StudyDirection.MAXIMIZE else 1.0 for d in study.directions])
        self.distributions: dict[str, BaseDistribution] = {}
        self.params: list[Params] = []
        self.running: list[Params] = []
        self._values = _Matrix(objectives)
        self._spreads = _Matrix(objectives)
        self._kinds = _Matrix(2)
        self._fronts = _Front(), _Front()
        self._broken: list[dict[str, float]] = []
        self._failed: list[Params] = []
        self._open: list[int] = []
        self._next = 0
        self._costs_of = costs
        self._costs = _Matrix(0)
        self._sites: Sites | None = None
        self._levels, self._taken, self._failures = _Matrix(0, np.int64), set[bytes](), 0
        self._constraints: tuple[tuple[str, ...], _Matrix] = (), _Matrix(0)

    # ------------------------------------------------------------------ reading

    def read(self, study: Study) -> None:
        """Take in what happened since the last time."""
        trials = study.get_trials(deepcopy=False)
        waiting, self._open = [*self._open, *range(self._next, len(trials))], []
        self._next = len(trials)
        self.running = []
        for number in waiting:
            self._take(trials[number])

    def _take(self, trial: FrozenTrial) -> None:
        from optuna.trial import TrialState

        if not trial.state.is_finished():
            self._open.append(trial.number)
            if trial.state == TrialState.RUNNING and trial.params:
                self.running.append(trial.params)
        elif trial.state == TrialState.COMPLETE and trial.values is not None:
            self._keep(trial, trial.values)
        else:
            self._failed.append(trial.params)

    def _keep(self, trial: FrozenTrial, measured: Sequence[float]) -> None:
        new = trial.distributions.keys() - self.distributions.keys()
        if new:
            self._sites = None  # every row gets new columns
        self.distributions |= {name: trial.distributions[name] for name in sorted(new)}
        values = self.signs * np.array(measured, dtype=float)
        usable = bool(np.isfinite(values).all())
        good = usable and not any(value > 0 for value in trial.constraints.values())
        for front, counts in zip(self._fronts, (usable, good), strict=True):
            if counts:
                front.add(len(self.params), values)
        self.params.append(trial.params)
        known = self._costs_of(trial.params) if self._costs_of else ()
        if not len(self._costs):
            self._costs = _Matrix(len(known))
        self._costs.add(known)
        self._values.add(values)
        self._spreads.add(_spread(trial, len(values)))
        self._kinds.add((usable, good))
        self._broken.append(dict(trial.constraints))

    # ------------------------------------------------------------------ what was seen

    @property
    def values(self) -> Values:
        """The objectives (n, m)."""
        found: Values = self._values.rows
        return found

    @property
    def usable(self) -> NDArray[np.bool_]:
        """Which trials have finite values (n,)."""
        found: NDArray[np.bool_] = self._kinds.rows[:, 0] > 0
        return found

    @property
    def good(self) -> NDArray[np.bool_]:
        """Which of them keep every constraint as well (n,)."""
        found: NDArray[np.bool_] = self._kinds.rows[:, 1] > 0
        return found

    @property
    def front(self) -> list[int]:
        """The good trials that no other one dominates; the usable ones where none is good."""
        usable, good = self._fronts
        return good.members or usable.members

    def noise(self, trials: int) -> Values:
        """The standard error of each objective (m,), as the first trials say themselves (`SPREAD`); 0 where they do not.

        The median of the last hundred of them, whose networks resemble the front more than those at the start did.
        """
        latest = self._spreads.rows[max(0, trials - 100) : trials]
        return np.median(latest, axis=0) / INTERVAL if len(latest) else np.zeros(len(self.signs))

    @property
    def constraints(self) -> Values:
        """The constraints (n, c), kept where not positive; NaN where a trial has none of that name."""
        names, known = self._constraints
        fresh = self._broken[len(known) :]
        new = {name for broken in fresh for name in broken} - set(names)
        if new:
            names = tuple(sorted({*names, *new}))
            known, fresh = _Matrix(len(names)), self._broken
        for broken in fresh:
            known.add([broken.get(name, np.nan) for name in names])
        self._constraints = names, known
        found: Values = known.rows
        return found

    # ------------------------------------------------------------------ sites

    @property
    def sites(self) -> Sites:
        """All sites that any trial had."""
        if self._sites is None:
            self._sites = Sites(self.distributions, self.costs.shape[1])
            self._levels, self._taken, self._failures = _Matrix(len(self.distributions), np.int64), set(), 0
        return self._sites

    @property
    def levels(self) -> Levels:
        """The levels (n, d)."""
        sites = self.sites
        for row in sites.levels(self.params[len(self._levels) :]):
            self._levels.add(row)
            self._taken.add(row.tobytes())
        found: Levels = self._levels.rows
        return found

    def features(self, rows: NDArray[np.int64]) -> Features:
        """The features of some of the trials."""
        return self.described(self.levels[rows], self.costs[rows])

    def described(self, levels: Levels, costs: Costs | None) -> Features:
        """The features of any candidates, from their levels (k, d) and what is known of them (k, c), if anything is."""
        if costs is None or not costs.size:
            return self.sites.features(levels)
        low, high = self.costs.min(axis=0), self.costs.max(axis=0)
        return self.sites.features(levels, (costs - low) / np.where(high > low, high - low, 1.0))

    @property
    def costs(self) -> Costs:
        """What was known of each trial before it was evaluated (n, c)."""
        found: Costs = self._costs.rows
        return found

    def taken(self, levels: Levels) -> NDArray[np.bool_]:
        """Which candidates (k, d) need not be proposed again: they were evaluated, failed, or are under way."""
        _ = self.levels
        self._taken |= {row.tobytes() for row in self.sites.levels(self._failed[self._failures :])}
        self._failures = len(self._failed)
        under_way = {row.tobytes() for row in self.sites.levels(self.running)}
        rows = (row.tobytes() for row in levels)
        return np.array([row in self._taken or row in under_way for row in rows], dtype=bool)


def _spread(trial: FrozenTrial, objectives: int) -> list[float]:
    """What a trial says of its values' intervals; 0 where it says nothing."""
    given = trial.user_attrs.get(SPREAD) or [None] * objectives
    return [0.0 if half is None else float(half) for half in given]


class _Matrix:
    """Rows of numbers, to which one is added in the same time however many there are."""

    def __init__(self, width: int, dtype: Any = np.float64) -> None:
        self._data = np.empty((64, width), dtype)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, row: Any) -> None:
        if self._count == len(self._data):
            self._data = np.concatenate((self._data, np.empty_like(self._data)))
        self._data[self._count] = row
        self._count += 1

    @property
    def rows(self) -> Any:
        """All of them (n, width); not to be changed."""
        return self._data[: self._count]


class _Front:
    """The rows that none of those added so far dominates; equal ones are kept together."""

    def __init__(self) -> None:
        self.members: list[int] = []
        self._values: Any = None

    def add(self, row: int, values: Values) -> None:
        if self._values is not None:
            at_most, less = (self._values <= values).all(axis=1), (self._values < values).any(axis=1)
            if (at_most & less).any():
                return
            beaten = (self._values >= values).all(axis=1) & (self._values > values).any(axis=1)
            self.members = [member for member, gone in zip(self.members, beaten.tolist(), strict=True) if not gone]
            values = np.vstack((self._values[~beaten], values))
        self._values = np.atleast_2d(values)
        self.members.append(row)

"""What a study has seen, as arrays, brought up to date by reading only the trials that are new."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .sites import Levels, Params, Sites

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.study import Study
    from optuna.trial import FrozenTrial

Values = NDArray[np.float64]


class History:
    """The finished and running trials of a study. Objectives are turned so that less is better."""

    def __init__(self, study: Study) -> None:
        from optuna.study import StudyDirection

        self.signs = np.array([-1.0 if d == StudyDirection.MAXIMIZE else 1.0 for d in study.directions])
        self.distributions: dict[str, BaseDistribution] = {}
        self.params: list[Params] = []
        self.running: list[Params] = []
        self.others: list[Params] = []
        self._rows: list[NDArray[np.float64]] = []
        self._broken: list[dict[str, float]] = []
        self._open: list[int] = []
        self._next = 0
        self._levels: list[Levels] = []
        self._sites: Sites | None = None

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
            return
        if trial.state == TrialState.COMPLETE and trial.values is not None:
            new = trial.distributions.keys() - self.distributions.keys()
            if new:
                self._sites, self._levels = None, []  # every row gets new columns
            self.distributions |= {name: trial.distributions[name] for name in sorted(new)}
            self.params.append(trial.params)
            self._rows.append(self.signs * np.array(trial.values, dtype=float))
            self._broken.append(dict(trial.constraints))
        else:
            self.others.append(trial.params)

    @property
    def sites(self) -> Sites:
        """All sites that any trial had."""
        if self._sites is None:
            self._sites = Sites(self.distributions)
        return self._sites

    @property
    def values(self) -> Values:
        """The objectives (n, m)."""
        return np.array(self._rows).reshape(len(self._rows), len(self.signs))

    @property
    def constraints(self) -> Values:
        """The constraints (n, c), kept where not positive; NaN where a trial has none of that name."""
        names = sorted({name for broken in self._broken for name in broken})
        rows = [[broken.get(name, np.nan) for name in names] for broken in self._broken]
        return np.array(rows, dtype=float).reshape(len(rows), len(names))

    @property
    def taken(self) -> set[bytes]:
        """The levels of everything that need not be proposed again: evaluated, failed, or under way."""
        elsewhere = self.sites.levels([*self.others, *self.running])
        return {row.tobytes() for row in (*self.levels, *elsewhere)}

    @property
    def levels(self) -> Levels:
        """The levels (n, d)."""
        sites = self.sites
        self._levels += list(sites.levels(self.params[len(self._levels) :]))
        return np.array(self._levels).reshape(len(self.params), len(sites.by_name))

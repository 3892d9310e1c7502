"""Exploring: candidates are proposed, evaluated and stored, until it is enough."""

from __future__ import annotations

from archfront.hw_profiles.metrics import metric

from .config import SearchConfig
from .evaluation import Backend
from .pareto import RecentGain
from .progress import Reporter
from .propose import Proposer, objective_values
from .trials import TrialLog

LEAST_GAIN = 0.001
"""Share of the hypervolume that counts as a gain for `search.patience`."""


class Exploration:
    """The part of a search in which trials come in. What a trial takes does not grow with their number.

    Args:
        log: the trials so far, and where further ones go.
        config: when it is enough.
        reporter: where progress goes.
    """

    def __init__(self, log: TrialLog, config: SearchConfig, reporter: Reporter) -> None:
        self.log = log
        self.config = config
        self.reporter = reporter
        self._seen = 0
        self._best: float | None = None
        self._gain = RecentGain(log.metrics, config.patience) if config.patience is not None else None

    def run(self, proposer: Proposer, backend: Backend) -> None:
        """Propose, evaluate and store candidates until it is enough."""
        log, trials = self.log, self.config.trials
        with self.reporter.track("Searching", trials) as advance:
            advance(len(log.trials), "")
            while not self.over():
                while backend.room and len(log.trials) + len(proposer.under_way) < trials:
                    if (proposal := proposer.next()) is None:
                        break
                    backend.submit(proposal.architecture)
                if not backend.busy:
                    self.reporter.note(f"Every architecture within the budget seems to be known: {len(log.trials)}")
                    break
                for architecture, outcome in backend.collect():
                    proposer.record(architecture, outcome)
                advance(len(log.trials), self._standing())

    def over(self) -> bool:
        """Whether no further candidate is to be proposed; says why where that does not go without saying."""
        enough = self.enough()
        if enough:
            self.reporter.note(enough)
        return enough is not None

    def enough(self) -> str | None:
        """Why the trials are enough, empty where that goes without saying; None while they are not."""
        self._look()
        config, count = self.config, len(self.log.trials)
        if count >= config.trials:
            return ""
        if config.minutes is not None and self.log.elapsed > 60 * config.minutes:
            return f"Stopped after {config.minutes:g} minutes of searching, as configured"
        if self._gain is not None and count > self._gain.last and (gain := self._gain.share) < LEAST_GAIN:
            return f"Stopped: the last {self._gain.last} candidates raised the hypervolume by {gain:.2%} together"
        return None

    def _look(self) -> None:
        """Take in the trials that came since the last time."""
        metrics = self.log.metrics
        for trial in self.log.trials[self._seen :]:
            if self._gain is not None:
                self._gain.add(objective_values(trial, metrics))
            if trial.complete:
                value = trial.values[metrics[0]]
                self._best = value if self._best is None else max(self._best, value)
        self._seen = len(self.log.trials)

    def _standing(self) -> str:
        self._look()
        if self._best is None:
            return "no candidate could be evaluated yet"
        return f"best {metric(self.log.metrics[0]).format(self._best)}"

"""The search itself: check, profile, train, explore, finish. Every stage keeps what it did and resumes from there."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from .backends import backend_of
from .exploring import Exploration
from .final import Finalist
from .finishing import Finish
from .propose import Proposer
from .raters import Raters
from .samplers import make_sampler
from .setting import Setting
from .storage import storage_url, stored_name
from .surrogate.within import Within
from .trials import TrialLog


@dataclass
class Search(Setting):
    """One search in a study directory.

    Args:
        number: which of the processes that explore this study together this one is, from 0.
    """

    number: int = 0

    def run(self) -> list[Finalist]:
        """Everything, from where the last run stopped; gives the finalists, front and pick marked.

        Several processes may do this on one study: one prepares it while the others wait, then all explore, and the
        first to be done finishes it.

        Raises:
            ArchfrontError: bad input, an impossible budget, a damaged study; nothing that was done is lost.
        """
        waiting = self.reporter.note
        with self.study.searcher() as self.number:
            with self.study.locked(waiting):
                self.prepare()
            self.explore()
        with self.study.locked(waiting):
            self.log.refresh()
            return Finish(self, self.raters).run(self.log.trials)

    def prepare(self) -> None:
        """What comes before candidates are evaluated: checks, predicted latency, the trained supernet if one rates."""
        self.check()
        if self.config.evaluator == "supernet":
            self.raters.train()
        _ = self.log  # one process at a time makes the tables of a database

    @cached_property
    def raters(self) -> Raters:
        """Who rates candidates."""
        return Raters(self)

    @cached_property
    def log(self) -> TrialLog:
        """The trials so far."""
        search = self.config.search
        source = Within(self.space, self.region, self.metrics, self.bounded)
        name = stored_name(self.study)
        self.study.remember(stored_as=name)
        log = TrialLog(storage_url(self.study), name, search.objectives, rating=self.config.rating)
        known = len(log.trials)
        log.memory.sampler = make_sampler(search.sampler, search.population, self._seed, source, known)
        return log

    @property
    def _seed(self) -> int:
        """Another one for every process that explores, so that they do not all propose the same."""
        return self.config.seed + 7919 * self.number

    def explore(self) -> None:
        """Evaluate candidates until it is enough."""
        exploration = Exploration(self.log, self.config.search, self.reporter)
        if exploration.over():
            return
        begun = self.raters.begun([trial.architecture for trial in self.log.trials])
        proposer = Proposer(self.space, self.region, self.log, self.config.search.sampler, self._seed, begun)
        with backend_of(self, self.raters) as backend:
            exploration.run(proposer, backend)


__all__ = ["Search"]

"""Proposing candidates: an Optuna sampler's choices, brought into the budget, never the same architecture twice."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from archfront.space.architecture import Architecture
from archfront.space.errors import SpaceError
from archfront.space.space import Space, trial_pick

from .evaluation import Outcome
from .feasible import Region
from .surrogate.candidates import ORIGIN
from .surrogate.history import SPREAD
from .trials import Trial, TrialLog

if TYPE_CHECKING:
    import optuna

ASKS = 40
"""Proposals of the sampler that may repeat known architectures before a known one is mutated instead."""

MUTATIONS = 200
"""Mutations that may repeat known architectures before what is left is looked for in order."""

LISTED = 100_000
"""Architectures that are looked at in order, a minute or so of them, before what is left counts as nothing."""


class Proposal(NamedTuple):
    """A candidate, why it was proposed, and the trial of the sampler that waits for its values, if there is one."""

    architecture: Architecture
    origin: str
    asked: optuna.trial.Trial | None


class Proposer:
    """Draws candidates that were not evaluated yet, inside the budget.

    The sampler learns from everything it proposed: what it proposes outside the budget is brought in by taking the
    nearest feasible option site by site, always the same way, and a repeated architecture is answered from memory.

    `first` are candidates that were under way when the search was interrupted: they are proposed before all others.
    """

    def __init__(
        self,
        space: Space,
        region: Region,
        log: TrialLog,
        sampler: str,
        seed: int,
        first: Iterable[Architecture] = (),
    ) -> None:
        self.space = space
        self.region = region
        self.log = log
        self.sampler = sampler
        self.rng = random.Random(seed * 1_000_003 + len(log.trials))
        self.known: dict[Architecture, Trial] = {trial.architecture: trial for trial in log.trials}
        self.under_way: dict[Architecture, Proposal] = {}
        self._first = deque(first)

    def next(self) -> Proposal | None:
        """The next candidate; None when every architecture that keeps the budget is known or under way."""
        proposal = self._new()
        if proposal is not None:
            self.under_way[proposal.architecture] = proposal
        return proposal

    def _new(self) -> Proposal | None:
        while self._first:
            if self._fresh(begun := self._first.popleft()) and begun in self.space:
                return Proposal(begun, "begun before", None)
        for _ in range(ASKS):
            asked = self.log.memory.ask()
            architecture = self._resolve(asked)
            if architecture is None:
                self.tell(asked, None)
            elif self._fresh(architecture):
                return Proposal(architecture, self.sampler, asked)
            else:
                self.tell(asked, self.known.get(architecture))
        return self._mutant()

    def _fresh(self, architecture: Architecture) -> bool:
        return architecture not in self.known and architecture not in self.under_way

    def _resolve(self, asked: optuna.trial.Trial) -> Architecture | None:
        """The architecture that a trial of the sampler describes, moved into the budget; None where that fails."""
        pick = trial_pick(self.space, asked)
        try:
            architecture = self.space.resolve(pick, self.region.bounds)
        except SpaceError:
            return None
        return architecture if self.region.accepts(architecture) else None

    def _mutant(self) -> Proposal | None:
        """A mutation of a known architecture, or a random one, that is not known."""
        known = list(self.known)
        for number in range(MUTATIONS):
            parent = self.rng.choice(known) if known and number % 2 == 0 else None
            try:
                if parent is not None:
                    found = self.space.mutate(parent, self.rng, 1 + number // 40, self.region.bounds)
                else:
                    found = self.space.sample(self.rng, over="sites", bounds=self.region.bounds)
            except SpaceError:
                if parent is not None:  # it has no mutation within the budget, and finding that out takes seconds
                    known.remove(parent)
                continue
            if self._fresh(found) and self.region.accepts(found):
                return Proposal(found, f"mutation of {self.known[parent].number}" if parent else "random", None)
        return self._left_over()

    @cached_property
    def _listed(self) -> Iterator[Architecture]:
        """What is within the bounds, in order: none is looked at twice, since what is refused once always is."""
        return islice(self.space.within(self.region.bounds), LISTED)

    def _left_over(self) -> Proposal | None:
        """The next architecture that keeps the budget and is not known, where all can be listed."""
        try:
            for found in self._listed:
                if self._fresh(found) and self.region.accepts(found):
                    return Proposal(found, "enumeration", None)
        except SpaceError:
            pass  # a part has too many options: drawing at random is all there is
        return None

    def tell(self, asked: optuna.trial.Trial, trial: Trial | None) -> optuna.trial.FrozenTrial:
        """Answer the sampler: with the values of a trial, or that there are none."""
        import optuna

        values = objective_values(trial, self.log.metrics)
        state = optuna.trial.TrialState.FAIL if values is None else optuna.trial.TrialState.COMPLETE
        for name, value in intervals(trial, self.log.metrics).items():
            asked.set_user_attr(name, value)
        return self.log.memory.tell(asked, values, state=state)

    def record(self, architecture: Architecture, outcome: Outcome) -> None:
        """Store an evaluated candidate and let the sampler learn from it.

        What another process stored in the meantime is not stored again.
        """
        proposal = self.under_way.pop(architecture)
        self._learn(self.log.refresh())
        if architecture in self.known:
            if proposal.asked is not None:
                self.tell(proposal.asked, self.known[architecture])
            return
        trial = Trial(
            number=len(self.log.trials),
            architecture=Architecture.known_good(
                architecture.input, architecture.network
            ),  # without its parts: it is kept
            measurements=outcome.measurements,
            reason=outcome.reason,
            origin=proposal.origin,
            choices=self.space.choices(architecture),
            seconds=outcome.seconds,
            elapsed=self.log.elapsed,
        )
        frozen = self._frozen(trial, proposal)
        reason = frozen.user_attrs.get(ORIGIN, proposal.origin)  # a sampler that says why it proposed something
        self._learn(self.log.add(replace(trial, origin=reason), frozen))

    def _learn(self, trials: Iterable[Trial]) -> None:
        self.known.update({trial.architecture: trial for trial in trials})

    def _frozen(self, trial: Trial, proposal: Proposal) -> optuna.trial.FrozenTrial:
        """The trial as Optuna keeps it, which the sampler learns from as well."""
        import optuna

        if proposal.asked is not None:
            return self.tell(proposal.asked, trial)
        domains = {site: self.space.sites[site].domain.labels for site in trial.choices}
        values = objective_values(trial, self.log.metrics)
        frozen = optuna.trial.create_trial(
            state=optuna.trial.TrialState.FAIL if values is None else optuna.trial.TrialState.COMPLETE,
            values=values,
            user_attrs=intervals(trial, self.log.metrics),
            params=dict(trial.choices),
            distributions={s: optuna.distributions.CategoricalDistribution(labels) for s, labels in domains.items()},
        )
        self.log.memory.add_trial(frozen)
        return frozen


def objective_values(trial: Trial | None, metrics: Sequence[str]) -> list[float] | None:
    """The values of the objectives of a complete trial."""
    if trial is None or not trial.complete:
        return None
    return [trial.values[name] for name in metrics]


def intervals(trial: Trial | None, metrics: Sequence[str]) -> dict[str, Any]:
    """The user attribute that tells the surrogate how certain the objectives of a complete trial are."""
    if trial is None or not trial.complete:
        return {}
    return {SPREAD: [trial.measurements[name].spread for name in metrics]}

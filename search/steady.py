"""Optuna's NSGA-II, NSGA-III and QMC at a cost that does not grow with the number of trials.

They propose what Optuna's own classes propose. Those look through all trials of the study for every proposal; here
each trial is read once, when it is finished.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from optuna.samplers import BaseGASampler, NSGAIIISampler, NSGAIISampler, QMCSampler, RandomSampler
from optuna.trial import TrialState

from .memory import trials_from

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.study import Study
    from optuna.trial import FrozenTrial

GENERATION = "archfront:generation"
"""The user attribute of a trial with the generation that it was bred for."""


class Finished:
    """The trials of a study, each given once, after it is finished."""

    def __init__(self) -> None:
        self._open: list[FrozenTrial] = []
        self._next = 0

    def new(self, study: Study) -> list[FrozenTrial]:
        """Those that were finished since the last time, in the order of their numbers."""
        waiting = [study._storage.get_trial(trial._trial_id) for trial in self._open]
        waiting += trials_from(study._storage, study._study_id, self._next)
        self._next = max(self._next, *(trial.number + 1 for trial in waiting), 0)
        self._open = [trial for trial in waiting if not trial.state.is_finished()]
        return [trial for trial in waiting if trial.state.is_finished()]


class _Remembering(BaseGASampler):
    """What a genetic sampler asks of a study, kept up to date: generations, parents, the parameters of all trials.

    For one study, as any genetic sampler of Optuna.
    """

    def __init__(self, population_size: int, seed: int) -> None:
        super().__init__(population_size=population_size, seed=seed)  # type: ignore[call-arg]
        self._finished = Finished()
        self._members: dict[int, list[FrozenTrial]] = {0: []}
        self._last = 0
        self._parents: list[list[FrozenTrial]] = [[]]
        self._common: dict[str, BaseDistribution] | None = None

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """The parameters that every complete trial has."""
        self._read(study)
        return {name: found for name, found in (self._common or {}).items() if not found.single()}

    def get_trial_generation(self, study: Study, trial: FrozenTrial) -> int:
        """The last generation, or the next one once that has as many complete members as the population."""
        own = trial.user_attrs.get(GENERATION)
        if own is not None:
            return int(own)
        self._read(study)
        generation = self._last + (len(self._members[self._last]) >= (self.population_size or 0))
        study._storage.set_trial_user_attr(trial._trial_id, GENERATION, generation)
        return generation

    def get_population(self, study: Study, generation: int) -> list[FrozenTrial]:
        """The complete members of a generation, in the order of their numbers."""
        self._read(study)
        return sorted(self._members.get(generation, []), key=_number)

    def get_parent_population(self, study: Study, generation: int) -> list[FrozenTrial]:
        """Whom a generation is bred from: chosen from the members and the parents of the one before."""
        if generation < len(self._parents):
            return self._parents[generation]
        while len(self._parents) <= generation:  # many, when a resumed study comes to its first proposal
            self._parents.append(self.select_parent(study, len(self._parents)))
        chosen = self._parents[generation]
        self._parents[generation] = sorted(chosen, key=_number)  # the order of Optuna: as chosen at first, then this
        return chosen

    def _read(self, study: Study) -> None:
        for trial in self._finished.new(study):
            if trial.state == TrialState.COMPLETE:
                if (generation := trial.user_attrs.get(GENERATION)) is not None:
                    self._members.setdefault(generation, []).append(trial)
                    self._last = max(self._last, generation)
                self._common = _shared(self._common, trial.distributions)


def _number(trial: FrozenTrial) -> int:
    return trial.number


def _shared(
    common: dict[str, BaseDistribution] | None, more: dict[str, BaseDistribution]
) -> dict[str, BaseDistribution]:
    if common is None:
        return dict(sorted(more.items()))
    return {name: found for name, found in common.items() if (other := more.get(name)) is found or other == found}


class SteadyNSGAII(_Remembering, NSGAIISampler):
    """NSGA-II (Deb, Pratap, Agarwal & Meyarivan, 2002, A Fast and Elitist Multiobjective Genetic Algorithm)."""


class SteadyNSGAIII(_Remembering, NSGAIIISampler):
    """NSGA-III (Deb & Jain, 2014, An Evolutionary Many-Objective Optimization Algorithm Using Reference Points)."""


class SteadyQMC(QMCSampler):
    """Scrambled Sobol points over the parameters of the first complete trial; others, and those before it, are random."""

    def __init__(self, seed: int) -> None:
        self._others = RandomSampler(seed=seed)
        super().__init__(scramble=True, seed=seed, independent_sampler=self._others)
        self._space: dict[str, BaseDistribution] = {}

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """The parameters of the complete trial with the lowest number."""
        if not self._space:
            trials = study.get_trials(deepcopy=False)
            first = next((other for other in trials if other.state == TrialState.COMPLETE), None)
            if first is None:
                return {}
            if all(other.state.is_finished() for other in trials[: first.number]):  # it will stay the first
                self._space = dict(first.distributions)
            return dict(first.distributions)
        return self._space

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """A random value."""
        return self._others.sample_independent(study, trial, param_name, param_distribution)


__all__ = ["Finished", "SteadyNSGAII", "SteadyNSGAIII", "SteadyQMC"]

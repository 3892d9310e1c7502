"""Optuna's samplers at a steady cost: the same proposals, each trial read once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution
from optuna.samplers import NSGAIIISampler, NSGAIISampler, QMCSampler, RandomSampler
from optuna.trial import TrialState, create_trial

from archfront.search.memory import SharingStorage
from archfront.search.samplers import make_sampler
from archfront.search.steady import GENERATION, Finished, SteadyNSGAII, SteadyNSGAIII, SteadyQMC

pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")

KINDS, WIDTHS = ("plain", "wide"), tuple(range(8))

PAIRS = {
    "nsga2": (lambda: NSGAIISampler(population_size=8, seed=1), lambda: SteadyNSGAII(8, 1)),
    "nsga3": (lambda: NSGAIIISampler(population_size=8, seed=1), lambda: SteadyNSGAIII(8, 1)),
    "qmc": (lambda: QMCSampler(scramble=True, seed=1, warn_independent_sampling=False), lambda: SteadyQMC(1)),
}
"""Optuna's own samplers and ours."""


def ask(study: optuna.Study) -> optuna.Trial:
    """A trial with parameters of which one stands under a choice only."""
    trial = study.ask()
    trial.suggest_categorical("a", WIDTHS)
    trial.suggest_categorical("b", WIDTHS)
    if trial.suggest_categorical("kind", KINDS) == "wide":
        trial.suggest_categorical("width", WIDTHS)
    return trial


def tell(study: optuna.Study, trial: optuna.Trial) -> None:
    """Two objectives that want different things; some trials fail."""
    a, b, width = trial.params["a"], trial.params["b"], trial.params.get("width", 3)
    if (a * 8 + b) % 11 == 5:
        study.tell(trial, state=TrialState.FAIL)
    else:
        study.tell(trial, [a * a + width, (7 - a) + abs(b - 4)])


def searched(sampler: optuna.samplers.BaseSampler, window: int, trials: int, **storage: Any) -> list[dict[str, Any]]:
    """What a sampler proposes, `window` candidates under way at a time, not always told in the order of asking."""
    study = optuna.create_study(directions=["minimize", "minimize"], sampler=sampler, **storage)
    waiting: list[optuna.Trial] = []
    for number in range(trials):
        while len(waiting) < window:
            waiting.append(ask(study))
        tell(study, waiting.pop(number * 7 % len(waiting)))
        if number % 20 == 19:
            study.add_trial(by_somebody_else(number))
    return [trial.params for trial in study.get_trials(deepcopy=False)]


def by_somebody_else(number: int) -> optuna.trial.FrozenTrial:
    choices = {"a": number % 8, "b": number // 8 % 8, "kind": "plain"}
    distributions = {"a": CategoricalDistribution(WIDTHS), "b": CategoricalDistribution(WIDTHS)}
    return create_trial(
        params=choices, distributions={**distributions, "kind": CategoricalDistribution(KINDS)}, values=[9.0, 9.0]
    )


@pytest.mark.parametrize(("name", "window"), [("nsga2", 1), ("nsga2", 5), ("nsga3", 1), ("nsga3", 5), ("qmc", 1)])
def test_proposals_are_those_of_optunas_own_sampler(name: str, window: int) -> None:
    theirs, ours = PAIRS[name]
    expected = searched(theirs(), window, 160)
    assert searched(ours(), window, 160) == expected
    assert searched(ours(), window, 160, storage=SharingStorage()) == expected


def test_points_of_qmc_follow_the_first_complete_trial_whatever_ends_first() -> None:
    study = optuna.create_study(sampler=SteadyQMC(0))
    first, second = ask(study), ask(study)
    study.tell(second, 1.0)
    third = ask(study)
    study.tell(first, 1.0)
    fourth = ask(study)
    assert not first.relative_params and not second.relative_params
    assert third.relative_params.keys() == second.params.keys()
    assert fourth.relative_params.keys() == first.params.keys()


@pytest.mark.parametrize("sampler", [SteadyNSGAII, SteadyNSGAIII])
def test_a_study_of_many_generations_goes_on(sampler: Callable[[int, int], optuna.samplers.BaseSampler]) -> None:
    """Optuna's own sampler asks for the parents of every generation inside the one after it, which ends at 500."""
    study = optuna.create_study(directions=["minimize", "minimize"], sampler=sampler(4, 0))
    for number in range(2800):
        trial = by_somebody_else(number)
        trial.user_attrs = {GENERATION: number // 4}
        study.add_trial(trial)
    ask(study)
    assert study.get_trials(deepcopy=False)[-1].user_attrs[GENERATION] == 700


def test_parents_of_a_generation_stay_who_they_were() -> None:
    sampler = SteadyNSGAII(8, 0)
    study = optuna.create_study(directions=["minimize", "minimize"], sampler=sampler)
    parents = []
    for number in range(60):
        tell(study, ask(study))
        if number >= 20:  # the first generation is over
            parents.append([trial.number for trial in sampler.get_parent_population(study, 1)])
    assert len(parents[0]) == 8
    assert parents == [sorted(parents[0])] * 40
    assert sampler.get_parent_population(study, 0) == []


def test_each_trial_is_given_once_after_it_is_finished() -> None:
    study, finished = optuna.create_study(sampler=RandomSampler(seed=0)), Finished()
    trials = [ask(study) for _ in range(4)]
    assert finished.new(study) == []
    study.tell(trials[2], 1.0)
    study.tell(trials[0], state=TrialState.FAIL)
    assert [trial.number for trial in finished.new(study)] == [0, 2]
    study.tell(trials[1], 1.0)
    study.add_trial(create_trial(value=0.0))
    assert [trial.number for trial in finished.new(study)] == [1, 4]
    assert finished.new(study) == []


def test_equal_distributions_are_one_object_however_a_trial_comes_in() -> None:
    study = optuna.create_study(directions=["minimize", "minimize"], storage=SharingStorage())
    tell(study, ask(study))
    study.add_trial(by_somebody_else(5))
    one, other = study.get_trials(deepcopy=False)
    assert one.distributions["a"] == CategoricalDistribution(WIDTHS)
    for name in other.distributions:
        assert other.distributions[name] is one.distributions[name]
    assert other.params == by_somebody_else(5).params


@pytest.mark.parametrize("name", ["random", "nsga2", "nsga3", "qmc", "tpe"])
def test_a_search_that_goes_on_does_not_propose_again_what_it_began_with(name: str) -> None:
    def first(known: int) -> list[dict[str, Any]]:
        return searched(make_sampler(name, 4, seed=2, known=known), 1, 12)

    assert first(0) == first(0)
    assert first(12) == first(12)
    assert [params in first(0) for params in first(12)] != [True] * 12

"""Samplers by name."""

from __future__ import annotations

import optuna
import pytest

from archfront.search.samplers import SAMPLERS, make_sampler
from archfront.search.surrogate.sampler import SurrogateSampler
from archfront.space.errors import ArchfrontError

optuna.logging.set_verbosity(optuna.logging.ERROR)


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_sampler_proposes_in_a_study_with_two_objectives(name: str) -> None:
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=make_sampler(name, 4, seed=0))
    study.optimize(lambda t: (t.suggest_categorical("a", [1, 2, 3]), t.suggest_categorical("b", [1, 2, 3])), n_trials=6)
    assert len(study.trials) == 6


def test_the_surrogate_starts_with_as_many_random_candidates_as_the_population() -> None:
    sampler = make_sampler("surrogate", 24, seed=7)
    assert isinstance(sampler, SurrogateSampler)
    assert (sampler.startup, sampler.seed) == (24, 7)


def test_a_misspelt_sampler_gets_a_suggestion() -> None:
    with pytest.raises(ArchfrontError, match="did you mean 'surrogate'"):
        make_sampler("surogate", 4, seed=0)

"""When a search has explored enough."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import optuna
import pytest

from archfront.hw_profiles.cost import cost
from archfront.hw_profiles.metrics import Measurement
from archfront.search.config import SearchConfig
from archfront.search.exploring import Exploration
from archfront.search.progress import Silent
from archfront.search.samplers import make_sampler
from archfront.search.storage import SCHEME
from archfront.search.trials import Trial, TrialLog
from archfront.space import Image
from archfront.space.presets import PRESETS

SPACE = PRESETS["micro"].make(Image(3, 8, 8), 2)


def trial(seed: int, accuracy: float) -> Trial:
    architecture = SPACE.sample(seed)
    rated = {"supernet_accuracy": Measurement(accuracy, "measured")}
    measured = {**cost(architecture).measurements(), **rated}
    return Trial(seed, architecture, measured, "", "random", SPACE.choices(architecture), 0.0)


def log_at(folder: Path) -> TrialLog:
    return TrialLog(f"{SCHEME}{folder / 'j'}", "s", ("accuracy", "params"), make_sampler("random", 4, 0))


def add(log: TrialLog, trial: Trial) -> None:
    log.add(trial, optuna.trial.create_trial(state=optuna.trial.TrialState.FAIL))


def enough(log: TrialLog, **config: float) -> str | None:
    return Exploration(log, SearchConfig(**config), Silent()).enough()


def test_minutes_are_those_of_the_clock_over_all_runs_however_long_evaluations_took(tmp_path: Path) -> None:
    log = log_at(tmp_path)
    add(log, replace(trial(0, 0.5), seconds=1e6, elapsed=30.0))  # on hundreds of workers, say
    assert enough(log, minutes=1) is None
    add(log, replace(trial(1, 0.5), elapsed=61.0))
    assert log.elapsed < 60 and enough(log, minutes=1) is None, "this run began with nothing"
    again = log_at(tmp_path)
    assert again.elapsed >= 61.0
    assert enough(again, minutes=1) == "Stopped after 1 minutes of searching, as configured"
    assert enough(again, minutes=60) is None


def test_time_goes_on_from_the_longest_run_where_several_processes_searched(tmp_path: Path) -> None:
    log = log_at(tmp_path)
    for seed, elapsed in enumerate((10.0, 5000.0, 20.0)):
        add(log, replace(trial(seed, 0.5), elapsed=elapsed))
    assert 5000.0 <= log_at(tmp_path).elapsed < 5030.0


@pytest.mark.parametrize("at_once", [True, False])
def test_a_search_ends_once_the_last_candidates_add_nothing_to_the_front(tmp_path: Path, at_once: bool) -> None:
    log = log_at(tmp_path)
    exploration = Exploration(log, SearchConfig(patience=3, trials=100), Silent())
    found = []
    for seed, accuracy in enumerate((0.5, 0.9, 0.1, 0.1, 0.1, 0.1)):
        smallest = SPACE.sample(0) if seed else SPACE.sample(1)
        add(log, replace(trial(seed, accuracy), architecture=smallest))
        if not at_once:
            found.append(exploration.enough() is None)
    assert "the last 3 candidates raised the hypervolume by 0.00%" in (exploration.enough() or "")
    if found:
        assert found == [True, True, True, True, False, False]


def test_as_many_trials_as_configured_are_enough(tmp_path: Path) -> None:
    log = log_at(tmp_path)
    for seed in range(3):
        assert enough(log, trials=3) is None
        add(log, trial(seed, 0.5))
    assert enough(log, trials=3) == ""

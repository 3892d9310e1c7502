"""Killing the process at any instant loses at most the candidate in flight."""

from __future__ import annotations

import itertools
import random
import shutil
import time
from pathlib import Path

import pytest
import torch

from archfront.hw_profiles.cost import cost
from archfront.search.config import SearchConfig, StudyConfig
from archfront.search.engine import Search
from archfront.search.final import load_finalists
from archfront.search.progress import Silent
from archfront.search.study import Study

from ..forks import ended, forked, killed

KILLS = 20


def start(path: Path, config: StudyConfig) -> int:
    """Run a search in a child process; gives its number."""
    return forked(Search(Study(path), config, Silent()).run)


@pytest.mark.parametrize("wanted", [5, pytest.param(KILLS, marks=pytest.mark.slow)])
def test_kills_at_random_moments_lose_and_double_nothing(wanted: int, config: StudyConfig, tmp_path: Path) -> None:
    torch.set_num_threads(1)  # a forked child cannot use threads that the parent started
    config = config.model_copy(
        update={
            "search": SearchConfig(trials=24, population=4),
            "supernet": config.supernet.model_copy(update={"epochs": 6}),
            "latency": config.latency.model_copy(update={"seconds": 2}),
            "budget": "",
        }
    )
    length = undisturbed(tmp_path / "first", config)
    rng = random.Random(0)
    kills = disturbed(tmp_path / "study", config, length, rng)
    check(tmp_path / "study", config)
    # the latency table was put to the test now; with one at hand the rest of a search is hit more often
    shutil.copytree(tmp_path / "first", tmp_path / "again", ignore=lambda folder, names: set(names) - {"latency.json"})
    length = undisturbed(tmp_path / "again", config)
    for number in itertools.count():
        if kills >= wanted:
            break
        path = tmp_path / f"study{number}"
        path.mkdir()
        shutil.copy(tmp_path / "first" / "latency.json", path)
        kills += disturbed(path, config, length, rng)
        check(path, config)


def undisturbed(path: Path, config: StudyConfig) -> float:
    """Run a search to its end; gives the seconds it took."""
    begin = time.monotonic()
    assert ended(start(path, config), 600) == 0
    return time.monotonic() - begin


def disturbed(path: Path, config: StudyConfig, length: float, rng: random.Random) -> int:
    """Run a search that is killed again and again until it ends by itself; gives the number of kills."""
    seen: list[str] = []
    for kills in range(6 * KILLS):
        child = start(path, config)
        status = ended(child, rng.uniform(0.0, length))
        if status is not None:
            assert status == 0
            return kills
        killed(child)
        now = stored(path, config)
        assert now[: len(seen)] == seen, "a stored candidate was lost or changed"
        seen = now
    pytest.fail("the search does not get on between kills")


def stored(path: Path, config: StudyConfig) -> list[str]:
    """The architectures in the storage of a study, in order."""
    if not (path / "study.journal").exists():
        return []
    return [trial.architecture.digest for trial in Search(Study(path), config, Silent()).log.trials]


def check(path: Path, config: StudyConfig) -> None:
    """Everything that a search that nobody disturbed would hold."""
    search = Search(Study(path), config, Silent())
    trials = search.log.trials
    assert len(trials) == config.search.trials
    assert len({trial.architecture for trial in trials}) == config.search.trials
    assert [trial.number for trial in trials] == list(range(config.search.trials))
    assert all(trial.values["params"] == cost(trial.architecture).params for trial in trials)
    finalists = load_finalists(search.study)
    assert len(finalists) == config.final.members
    assert sum(finalist.picked for finalist in finalists) == 1
    # the ratings are those of the final supernet, whichever process made them
    for trial in trials[::6]:
        search.raters.train()
        rated = search.raters.shared.evaluate(trial.architecture)["supernet_accuracy"]
        assert rated.value == trial.values["supernet_accuracy"]

"""Searches that train every candidate alone: no supernet, early stopping, resumable in the middle of a training."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pandas as pd
import pytest
import torch

from archfront.evaluators.stand_alone import StandAlone
from archfront.evaluators.train import Recipe, read_checkpoint
from archfront.reports.results import load_results, write_results
from archfront.search.audit import AuditOptions, audit_study
from archfront.search.config import AloneConfig, SearchConfig, StudyConfig
from archfront.search.engine import Search
from archfront.search.final import load_finalists
from archfront.search.progress import Silent
from archfront.search.study import Study, StudyError
from archfront.space.architecture import Architecture

from ..forks import ended, killed
from .conftest import keep_table, quick, study_at
from .test_kill import start

ALONE = AloneConfig(epochs=4, eta=2)


def alone(config: StudyConfig, **changes: object) -> StudyConfig:
    """A search of 12 candidates, each trained alone for 1, 2 or 4 epochs, whose finalists stay as they were trained."""
    final = config.final.model_copy(update={"epochs": 0})
    return config.model_copy(
        update={"evaluator": "alone", "alone": ALONE, "final": final, "latency": config.latency, **changes}
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, space_file: Path) -> Search:
    """A finished search that several tests look at."""
    config = alone(quick(space_file))
    search = Search(study_at(tmp_path_factory.mktemp("alone") / "study", config), config, Silent())
    search.run()
    keep_table(search)
    return search


def test_every_candidate_is_rated_by_its_own_training_and_no_supernet_is_made(finished: Search) -> None:
    trials = finished.log.trials
    assert len(trials) == 12
    assert not finished.study.checkpoint.exists()
    assert all("supernet_accuracy" not in trial.values for trial in trials)
    assert finished.metrics == ("alone_accuracy", "predicted_latency_ms")
    stopped = [trial for trial in trials if trial.stopped]
    assert stopped
    assert {trial.values["stopped_epochs"] for trial in stopped} <= {1, 2}
    whole = next(trial for trial in trials if not trial.stopped)
    recipe = Recipe(**{name: getattr(ALONE, name) for name in Recipe.model_fields})
    again = StandAlone(finished.study.path / "again", finished.data, finished.task, recipe)
    assert whole.measurements["alone_accuracy"] == again.accuracy(whole.architecture, finished.config.seed)


def test_finalists_came_to_the_end_of_their_training_and_start_from_its_weights(finished: Search) -> None:
    finalists = load_finalists(finished.study)
    stopped = {trial.number for trial in finished.log.trials if trial.stopped}
    assert finalists
    assert not stopped & {finalist.number for finalist in finalists}
    for finalist in finalists:  # fine-tuned for 0 epochs
        assert finalist.measurements["accuracy"] == finalist.measurements["alone_accuracy"]
        assert "test_accuracy" in finalist.measurements


def test_the_report_says_what_was_measured_and_how_many_were_stopped(finished: Search) -> None:
    results = load_results(finished.study)
    stopped = sum(trial.stopped for trial in finished.log.trials)
    assert results.objectives == ("accuracy", "latency_ms")
    assert any(f"{stopped} of 12 trainings were stopped early" in note for note in results.notes)
    write_results(finished.study, results)
    table = pd.read_parquet(finished.study.results_file)
    assert int(table["stopped_epochs"].notna().sum()) == stopped
    assert (table["alone_accuracy.provenance"] == "measured").all()


def test_there_is_nothing_to_audit_without_a_supernet(finished: Search) -> None:
    with pytest.raises(StudyError, match="no supernet to audit"):
        audit_study(finished.study, AuditOptions(archs=4))


@pytest.fixture
def study(finished: Search, config: StudyConfig, tmp_path: Path) -> Study:
    """A new study of the same space, on blocks that were measured already."""
    return study_at(tmp_path / "study", config)


def test_without_early_stopping_every_training_comes_to_its_end(config: StudyConfig, study: Study) -> None:
    search = Search(study, alone(config, alone=AloneConfig(epochs=2, eta=1)), Silent())
    search.run()
    assert len(search.log.trials) == 12
    assert not any(trial.stopped for trial in search.log.trials)
    assert not (study.path / "alone" / "rungs").exists()


def under_way(study: Study) -> dict[str, Architecture]:
    """What is being trained, or was when the search was killed, by digest."""
    records = {file: json.loads(file.read_text()) for file in study.path.glob("alone/*/*.json")}
    begun = [Architecture.from_dict(r["architecture"]) for r in records.values() if set(r) == {"architecture"}]
    return {architecture.digest: architecture for architecture in begun}


def test_a_search_that_is_killed_in_a_training_goes_on_with_it(
    config: StudyConfig, study: Study, tmp_path: Path
) -> None:
    torch.set_num_threads(1)  # a forked child cannot use threads that the parent started
    config = alone(config, alone=AloneConfig(epochs=32, eta=2), search=SearchConfig(trials=8, population=4))
    search = Search(study, config, Silent())
    search.prepare()
    child = start(study.path, config)
    while not under_way(study).keys() & rungs(study, 8):  # the first to come to a rung always goes on
        assert os.waitpid(child, os.WNOHANG) == (0, 0)
        time.sleep(0.002)
    killed(child)
    (digest,) = begun = under_way(study)
    known = len(Search(study, config, Silent()).log.trials)
    facts, _ = read_checkpoint(search.raters.alone.checkpoint(begun[digest], config.seed))
    assert facts["step"] >= facts["total"] * 8 // 32
    assert ended(start(study.path, config), 300) == 0
    trials = Search(study, config, Silent()).log.trials
    assert len(trials) == len({trial.architecture for trial in trials}) == 8
    assert (trials[known].architecture.digest, trials[known].origin) == (digest, "begun before")
    again = StandAlone(tmp_path / "again", search.data, search.task, search.raters.alone.recipe)
    assert trials[known].measurements["alone_accuracy"] == again.accuracy(begun[digest], config.seed)


def rungs(study: Study, epochs: int) -> set[str]:
    """The digests of what has come to a rung."""
    return {file.stem.rpartition("-")[0] for file in study.path.glob(f"alone/rungs/{epochs}/*.json")}

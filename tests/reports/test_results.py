from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

import optuna
import pandas as pd
import pytest
import torch

from archfront.evaluators.data import load_data
from archfront.hw_profiles.cost import cost
from archfront.hw_profiles.metrics import Measurement
from archfront.hw_profiles.profile import local_profile
from archfront.reports.report import COLUMNS, render
from archfront.reports.results import load_results, read_trials, write_results
from archfront.reports.summary import answer
from archfront.search.about import write_about
from archfront.search.budget import Budget
from archfront.search.config import StudyConfig, dump
from archfront.search.final import Finalist, decide, save_finalists
from archfront.search.known import save_known
from archfront.search.samplers import make_sampler
from archfront.search.storage import storage_url
from archfront.search.study import Study, StudyError
from archfront.search.trials import Trial, TrialLog
from archfront.space.architecture import Architecture
from archfront.space.presets import preset_named
from archfront.space.space import Space
from archfront.space.types import Image

torch.set_num_threads(1)
SPACE = preset_named("micro").make(Image(1, 8, 8), 10)
BUDGET = "latency<=2ms, accuracy>=50%"


def trial(number: int, latency: float, reason: str = "") -> Trial:
    architecture = SPACE.sample(number)
    measurements = {
        **cost(architecture).measurements(),
        "predicted_latency_ms": Measurement(latency, "predicted", 0.1 * latency, 8),
        "supernet_accuracy": Measurement(0.1 + number / 100, "measured", 0.02, 60),
    }
    return Trial(
        number, architecture, {} if reason else measurements, reason, "nsga2", SPACE.choices(architecture), 0.5 + number
    )


def finalist(of: Trial, latency: float, accuracy: float, noisy: bool = False) -> Finalist:
    own = {
        "accuracy": Measurement(accuracy, "measured", 0.03, 300),
        "test_accuracy": Measurement(accuracy - 0.01, "measured", 0.03, 359),
        "latency_ms": Measurement(latency, "measured", 0.02, 500),
    }
    return Finalist(of.number, of.architecture, {**of.measurements, **own}, noisy=noisy)


def new_study(folder: Path, trials: Sequence[Trial] = (), storage: str = "", space: Space = SPACE) -> Study:
    """A study as a search leaves it, without the search."""
    study = Study(folder / "mine")
    study.path.mkdir(parents=True)
    config = StudyConfig(budget=BUDGET, storage=storage)
    study.config_file.write_text(dump(config))
    write_about(study, load_data("digits", limit=200), space, local_profile())
    if trials:
        log = TrialLog(storage_url(study), "mine", config.search.objectives, make_sampler("random", 4, 0))
        for item in trials:
            state = optuna.trial.TrialState.COMPLETE if item.complete else optuna.trial.TrialState.FAIL
            values = [0.0, 0.0] if item.complete else None
            log.add(item, optuna.trial.create_trial(state=state, values=values))
    return study


TRIALS = [trial(0, 1.0), trial(1, 1.5), trial(2, 2.5), trial(3, 1.0, "Diverged: NaN"), trial(4, 1.9)]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """Five trials, of which three were finished: one on the front, one too slow as measured, one beaten."""
    made = new_study(tmp_path_factory.mktemp("studies"), TRIALS)
    finalists = [
        finalist(TRIALS[0], 1.1, 0.9), finalist(TRIALS[1], 2.2, 0.95, noisy=True), finalist(TRIALS[4], 1.8, 0.85)
    ]  # fmt: skip
    save_finalists(made, decide(finalists, ("accuracy", "latency_ms"), Budget.parse(BUDGET)))
    return made


def test_every_trial_is_a_row_with_everything_that_was_stored(study: Study) -> None:
    table = load_results(study).trials
    assert set(COLUMNS) <= set(table.columns)
    assert list(table["number"]) == [0, 1, 2, 3, 4]
    for row, stored in zip(table.to_dict("records"), TRIALS, strict=True):
        assert row["digest"] == stored.architecture.digest
        assert Architecture.from_dict(json.loads(row["architecture"])) == stored.architecture
        assert json.loads(row["sites"]) == stored.choices
        assert (row["origin"], row["seconds"]) == ("nsga2", stored.seconds)
        for name, m in stored.measurements.items():
            assert (row[name], row[f"{name}.provenance"], row[f"{name}.samples"]) == (m.value, m.provenance, m.samples)
            assert row[f"{name}.spread"] == m.spread or (m.spread is None and math.isnan(row[f"{name}.spread"]))


def test_the_state_follows_the_best_knowledge_of_every_bounded_metric(study: Study) -> None:
    table = load_results(study).trials
    assert list(table["state"]) == ["complete", "infeasible", "infeasible", "failed", "complete"]
    assert table["reason"][1] == "Latency 2.2 ms (measured) breaks latency_ms <= 2 ms"
    assert table["reason"][2] == "Latency 2.5 ms (predicted) breaks latency_ms <= 2 ms"
    assert table["reason"][3] == "Diverged: NaN"
    assert table["reason"].isna()[0]  # an estimate of 10 % does not break accuracy >= 50 %; only finalists are judged


def test_front_and_pick_are_those_of_the_finalists(study: Study) -> None:
    table = load_results(study).trials
    assert list(table["front"]) == [True, False, False, False, False]
    assert list(table["picked"]) == [True, False, False, False, False]
    assert table["accuracy"].notna().tolist() == [True, True, False, False, True]
    assert table["latency_ms"][4] == 1.8


def test_the_rest_of_the_report_says_what_the_study_was_made_of(study: Study) -> None:
    data = load_results(study)
    assert data.title == "mine"
    assert data.space_size == SPACE.size
    assert data.space_text == str(SPACE)
    assert data.objectives == ("accuracy", "latency_ms")
    assert data.budget == {"latency_ms": (None, 2.0), "accuracy": (0.5, None)}
    assert data.environment["profile"]["digest"] == local_profile().digest
    assert data.environment["versions"]["torch"] == torch.__version__
    assert "10 classes" in data.data and "160 train" in data.data
    notes = " ".join(data.notes)
    assert "noisy" in notes and "1 of 3" in notes
    assert "2 of 3 networks left the front" in notes
    assert "1 candidate failed: Diverged: NaN" in notes
    assert "not finished" not in notes


def test_the_report_renders(study: Study) -> None:
    assert "mine" in render(load_results(study))


def test_parquet_and_csv_hold_the_same_trials(study: Study) -> None:
    write_results(study)
    table = load_results(study).trials
    read = pd.read_parquet(study.results_file)
    assert list(read.columns) == list(table.columns)
    assert list(read["digest"]) == list(table["digest"])
    assert read["latency_ms"].equals(table["latency_ms"])
    csv = pd.read_csv(study.results_file.with_suffix(".csv"))
    assert "architecture" not in csv
    assert list(csv["digest"]) == list(table["digest"])


def test_an_unfinished_study_has_results_that_say_so(tmp_path: Path) -> None:
    data = load_results(new_study(tmp_path, TRIALS[:2]))
    assert list(data.trials["state"]) == ["complete", "complete"]
    assert not data.trials["front"].any()
    assert "not finished: 2 of 150 candidates" in data.notes[0]
    assert "mine" in render(data)


def test_a_study_none_of_whose_finalists_keeps_the_budget_is_not_called_unfinished(tmp_path: Path) -> None:
    made = new_study(tmp_path, TRIALS[:2])
    slow = [finalist(TRIALS[0], 2.2, 0.9), finalist(TRIALS[1], 2.1, 0.9)]
    save_finalists(made, decide(slow, ("accuracy", "latency_ms"), Budget.parse(BUDGET)))
    results = load_results(made)
    notes, told = " ".join(results.notes), answer(results)
    assert "not finished" not in notes and "left the front" not in notes
    assert told.headline == "No network that was measured keeps the budget; network 1 comes nearest"
    assert "Network 1 has latency 2.100\u00a0ms instead of ≤\u00a02\u00a0ms" in told.sentence


def test_whether_a_bound_on_accuracy_is_kept_is_left_open_while_there_are_estimates_alone(tmp_path: Path) -> None:
    told = answer(load_results(new_study(tmp_path, TRIALS[:2])))
    assert told.headline.startswith("Network 1 reaches")
    assert "within latency\u00a0≤\u00a02\u00a0ms, by the estimates of the search: out of 2" in told.sentence
    assert (
        "Whether it keeps fine-tuned\u00a0accuracy\u00a0(validation)\u00a0≥\u00a050\u00a0% is not known"
        in told.sentence
    )


def test_everything_that_was_left_out_of_the_data_is_counted_and_listed(tmp_path: Path) -> None:
    made = new_study(tmp_path, TRIALS[:2])
    file = made.path / "about.json"
    about = json.loads(file.read_text())
    about["data"]["skipped"] = ["a/1.png: is no image", "b/2.png: is no image"]
    file.write_text(json.dumps(about))
    results = load_results(made)
    assert any(note.startswith("2 files, images or rows were left out") for note in results.notes)
    assert all(line in render(results) for line in about["data"]["skipped"])


def test_a_renamed_study_keeps_its_trials_and_its_folder_may_be_given_as_a_dot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = new_study(tmp_path, TRIALS[:2])
    monkeypatch.chdir(made.path)
    assert len(read_trials(Study(Path()))) == 2
    made.remember(stored_as="mine")
    moved = made.path.rename(tmp_path / "moved")
    assert len(read_trials(Study(moved))) == 2


def test_a_study_without_trials_makes_an_empty_table_and_no_storage(tmp_path: Path) -> None:
    study = new_study(tmp_path)
    data = load_results(study)
    assert list(data.trials.columns) == list(COLUMNS) and data.trials.empty
    assert not (study.path / "study.journal").exists()
    assert "mine" in render(data)
    write_results(study, data)
    assert pd.read_parquet(study.results_file).empty


def test_trials_are_read_from_any_storage(tmp_path: Path) -> None:
    study = new_study(tmp_path, TRIALS[:2], storage=f"sqlite:///{tmp_path / 'elsewhere.db'}")
    assert [t.architecture for t in read_trials(study)] == [t.architecture for t in TRIALS[:2]]
    assert not (study.path / "study.journal").exists()


def test_a_storage_of_other_studies_holds_no_trials_of_this_one(tmp_path: Path) -> None:
    new_study(tmp_path / "a", TRIALS[:1], storage=f"sqlite:///{tmp_path / 'shared.db'}")
    other = new_study(tmp_path / "b", storage=f"sqlite:///{tmp_path / 'shared.db'}")
    optuna.delete_study(study_name="mine", storage=f"sqlite:///{tmp_path / 'shared.db'}")
    assert read_trials(other) == []


def test_a_damaged_storage_is_named(tmp_path: Path) -> None:
    study = new_study(tmp_path, TRIALS[:1])
    (study.path / "study.journal").write_bytes(b"no database" * 1000)
    with pytest.raises(StudyError, match=r"study\.journal is no journal of Optuna"):
        read_trials(study)


def test_a_search_that_stopped_before_its_data_has_nothing_to_show(tmp_path: Path) -> None:
    study = new_study(tmp_path)
    (study.path / "about.json").unlink()
    with pytest.raises(StudyError, match="archfront search --study"):
        load_results(study)


def test_a_space_too_large_to_count_with_its_predicates_says_so(tmp_path: Path) -> None:
    large = Space(SPACE.input, SPACE.network, where=lambda architecture: True)
    data = load_results(new_study(tmp_path, space=large))
    assert data.space_size == SPACE.size
    assert "unknown share" in data.space_text


def test_published_networks_come_with_what_was_measured_of_them(tmp_path: Path) -> None:
    study = new_study(tmp_path, TRIALS[:2])
    save_known(study, {"resnet18": {"latency_ms": Measurement(3.5, "measured", 0.1, 40)}})
    known = load_results(study).references
    assert known.to_dict("records") == [
        {
            "name": "resnet18",
            "latency_ms": 3.5,
            "latency_ms.provenance": "measured",
            "latency_ms.spread": 0.1,
            "latency_ms.samples": 40,
        }
    ]

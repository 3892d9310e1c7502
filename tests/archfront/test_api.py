from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from archfront import api
from archfront.api import Result
from archfront.evaluators.accuracy import score
from archfront.evaluators.data import DataError, load_data
from archfront.evaluators.task import Classification
from archfront.finalists import default_name, finalist_of, state_of
from archfront.hw_profiles.cost import cost
from archfront.search.budget import BudgetError
from archfront.search.config import ConfigError
from archfront.search.engine import Search
from archfront.search.final import load_finalists
from archfront.search.progress import Silent
from archfront.search.study import Study, StudyError
from archfront.space.architecture import Architecture
from archfront.space.presets import preset_named
from archfront.space.space import Space
from archfront.space.types import Image

torch.set_num_threads(1)


def test_a_search_ends_with_a_front_within_the_budget_and_all_files(searched: Result) -> None:
    assert len(searched.trials) == 5
    front = searched.front
    assert 1 <= len(front) <= 2
    assert (front["params"] <= 2000).all()
    assert list(front["accuracy"]) == sorted(front["accuracy"], reverse=True)
    assert searched.picked == front["number"].iloc[0]
    for row in front.to_dict("records"):
        architecture = Architecture.from_dict(json.loads(row["architecture"]))
        assert architecture.digest == row["digest"]
        assert cost(architecture).params == row["params"]
        assert row["latency_ms.provenance"] == row["test_accuracy.provenance"] == "measured"
    study = searched.study
    name = default_name(study, finalist_of(study))
    files = [
        study.results_file,
        study.report_file,
        *(study.exports / f"{name}.{s}" for s in ("py", "safetensors", "onnx", "json")),
    ]
    assert all(file.stat().st_size > 0 for file in files)


def test_running_a_finished_study_again_is_quick_and_changes_nothing(searched: Result, at_home: Path) -> None:
    folder = searched.study.path
    before = {
        file: file.stat().st_mtime_ns for file in folder.rglob("*") if file.is_file() and "finished" not in file.name
    }
    again = api.run(study=folder)
    assert again.trials.equals(searched.trials)
    after = {
        file: file.stat().st_mtime_ns for file in folder.rglob("*") if file.is_file() and "finished" not in file.name
    }
    assert after == before


def test_a_missing_report_of_a_finished_study_is_made_again(searched: Result, at_home: Path, tmp_path: Path) -> None:
    folder = tmp_path / "tiny"
    shutil.copytree(searched.study.path, folder)
    (folder / "report.html").unlink()
    api.run(study=folder)
    assert (folder / "report.html").exists()


def test_other_settings_are_refused_but_more_trials_go_on(searched: Result, at_home: Path, tmp_path: Path) -> None:
    folder = tmp_path / "tiny"
    shutil.copytree(searched.study.path, folder)
    with pytest.raises(StudyError, match="budget was 'params<=2k', now 'params<=1k'"):
        api.run(study=folder, budget="params<=1k")
    more = api.run(study=folder, trials=6)
    assert len(more.trials) == 6
    assert more.trials["digest"].is_unique
    assert list(more.trials["digest"][:5]) == list(searched.trials["digest"])


def test_exported_weights_give_the_reported_test_accuracy_exactly(
    searched: Result, at_home: Path, tmp_path: Path
) -> None:
    config = searched.study.config
    data = load_data("digits", limit=config.data.limit, seed=config.seed)
    task = Classification(len(data.classes))
    for finalist in load_finalists(searched.study):
        written = searched.export(finalist.number, tmp_path, name="network")
        spec = importlib.util.spec_from_file_location("network", written.code)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        network = module.load_weights(module.network(), written.weights).eval()
        for split, name in ((data.test, "test_accuracy"), (data.validation, "accuracy")):
            assert score(network, split, task) == finalist.measurements[name]
        card = json.loads(written.card.read_text())
        assert card["metrics"]["test_accuracy"]["value"] == finalist.measurements["test_accuracy"].value
        assert card["data"]["fingerprint"] == data.fingerprint
        assert card["data"]["normalise"]["mean"] == list(data.mean)
        assert card["data"]["classes"] == list(data.classes)
        assert card["study"]["trial"] == finalist.number
        assert card["profile"]["digest"] == searched.study.facts["profile"]


def test_the_state_of_a_finalist_fits_its_network_completely(searched: Result) -> None:
    for finalist in load_finalists(searched.study):
        network = finalist.architecture.build()
        state = state_of(finalist.architecture, searched.study.weights(finalist.architecture))
        assert state.keys() == network.state_dict().keys()
        assert any(not torch.equal(state[name], value) for name, value in network.state_dict().items())


def test_a_trial_that_is_no_finalist_is_exported_with_the_weights_that_it_was_rated_with(
    searched: Result, tmp_path: Path
) -> None:
    finalists = [finalist.number for finalist in load_finalists(searched.study)]
    other = int(next(number for number in searched.trials["number"] if number not in finalists))
    written = searched.export(other, tmp_path)
    search = Search(searched.study, searched.study.config, Silent())
    trial = search.log.trials[other]
    network = trial.architecture.build()
    network.load_state_dict(load_file(written.weights))
    rated = score(network.eval(), search.data.validation, search.task)
    assert rated == trial.measurements["supernet_accuracy"]
    card = json.loads(written.card.read_text())
    assert card["study"]["trial"] == other and not card["study"]["front"]
    assert card["metrics"]["supernet_accuracy"]["value"] == rated.value


def test_a_trial_that_does_not_exist_is_explained(searched: Result) -> None:
    with pytest.raises(StudyError, match=rf"has no trial 99; its {len(searched.trials)} trials count from 0"):
        searched.export(99)
    with pytest.raises(StudyError, match=r"trial 99 of .* is no finalist; finalists: \d"):
        finalist_of(searched.study, 99)


def test_a_study_without_finalists_says_how_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"no finalist yet.*archfront search --study"):
        finalist_of(Study(tmp_path))


def test_load_reads_a_study_by_its_folder(searched: Result) -> None:
    assert api.load(searched.study.path).trials.equals(searched.trials)


def test_names_of_exported_files_are_identifiers(searched: Result) -> None:
    finalist = load_finalists(searched.study)[0]
    for folder in ("tiny", "1-Größe, x", "..", "class"):
        assert default_name(Study(Path("runs") / folder), finalist).isidentifier()


def test_a_space_object_is_kept_with_its_study(here: Path) -> None:
    space = preset_named("micro").make(Image(1, 8, 8), 10)
    file = api._kept(space, here / "mine")
    assert Space.load(file) == space
    assert api._kept(space, here / "mine") == file
    other = preset_named("micro").make(Image(1, 16, 16), 10)
    assert Space.load(api._kept(other, here / "mine")) == other  # nothing was begun on the first one
    Study(here / "mine").remember(stored_as="mine")
    with pytest.raises(StudyError, match="another space"):
        api._kept(space, here / "mine")
    with pytest.raises(StudyError, match="needs study="):
        api.run(space=space)


def test_an_unknown_setting_is_refused_before_anything_is_written(here: Path) -> None:
    with pytest.raises(ConfigError, match="'trails'; did you mean 'trials'"):
        api.run(space="micro", trails=5)
    assert not (here / "runs").exists()


def test_threads_are_put_back_after_a_search_that_failed(here: Path) -> None:
    torch.set_num_threads(2)
    try:
        with pytest.raises(DataError):
            api.run(space="micro", data="no/such/folder", study="runs/mine")
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


def test_networks_that_all_break_the_budget_once_measured_are_reported(here: Path) -> None:
    with pytest.raises(BudgetError, match=r"accuracy >= 99\.9 %"):
        api.run(config="study.toml", study="runs/mine", budget="accuracy>=99.9%", trials=4, final={"members": 1})
    found = api.load("mine")
    assert found.picked is None
    assert found.front.empty
    assert "infeasible" in set(found.trials["state"])
    assert found.study.report_file.exists()

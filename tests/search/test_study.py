"""Damaged, foreign and misused studies: a clear message each, and nothing lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from archfront.search.config import StudyConfig, dump
from archfront.search.engine import Search
from archfront.search.progress import Silent
from archfront.search.spaces import find_space
from archfront.search.study import Study, StudyError
from archfront.search.trials import TrialLog
from archfront.space import Image, SpaceError
from archfront.space.files import StorageError


def test_a_folder_without_a_study_says_so(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"is no study: it has no study\.toml"):
        Study.open(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[1, 2]"])
def test_damaged_facts_name_the_file(tmp_path: Path, text: str) -> None:
    study = Study(tmp_path)
    study.facts_file.write_text(text)
    with pytest.raises(StudyError, match=r"facts\.json .*delete it"):
        study.remember(data="x")
    assert study.facts_file.read_text() == text


def test_changed_data_or_space_is_refused(tmp_path: Path) -> None:
    study = Study(tmp_path)
    study.remember(data="one", space="a", stored_as="here")
    study.remember(data="one", space="a")
    with pytest.raises(StudyError, match='started on another data: it was "one", now "two"'):
        study.remember(data="two")


def test_settings_and_facts_may_change_until_anything_was_begun_and_take_the_latency_table_with_them(
    tmp_path: Path,
) -> None:
    study = Study(tmp_path / "study")
    wrong, right = StudyConfig(device="local-cp", budget="latency<=1us"), StudyConfig(budget="latency<=1us")
    study.settle(wrong)
    study.remember(data="one")
    study.table_file.write_text("{}")
    study.settle(wrong)
    assert study.facts == {"data": "one"} and study.table_file.exists()
    study.settle(right)
    assert study.config == right
    assert not study.table_file.exists()
    study.remember(data="two", space="a")
    study.table_file.write_text("{}")
    study.remember(data="two", space="b")
    assert study.facts == {"data": "two", "space": "b"} and not study.table_file.exists()
    study.table_file.write_text("{}")
    study.settle(StudyConfig(budget="latency<=1ms"))
    assert study.table_file.exists(), "the latencies that an impossible budget was refused with hold for the next"


@pytest.mark.parametrize("file", ["supernet/last.safetensors", "study.journal", "alone/x.json", "final.json"])
def test_settings_stay_once_anything_depends_on_them(tmp_path: Path, file: str) -> None:
    study = Study(tmp_path)
    study.settle(StudyConfig())
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).touch()
    study.table_file.write_text("{}")
    with pytest.raises(StudyError, match="was started with other settings: budget was '', now 'params<=1M'"):
        study.settle(StudyConfig(budget="params<=1M"))
    assert study.table_file.exists()


def test_settings_stay_once_a_prepared_search_may_be_exploring_with_its_trials_elsewhere(tmp_path: Path) -> None:
    study = Study(tmp_path)
    study.settle(StudyConfig())
    study.remember(stored_as="here")
    with pytest.raises(StudyError, match="was started with other settings"):
        study.settle(StudyConfig(seed=1))


def test_a_space_file_that_is_not_there_can_be_corrected(tmp_path: Path, space_file: Path) -> None:
    study = Study(tmp_path)
    study.settle(StudyConfig(space=str(tmp_path / "nowhere.py:tiny")))
    study.settle(StudyConfig(space=f"{space_file}:tiny"))
    assert study.config.space == f"{space_file}:tiny"


def test_the_search_of_a_table_says_that_it_is_one(tmp_path: Path) -> None:
    study = Study(tmp_path)
    study.remember(table="0123")
    with pytest.raises(StudyError, match=r"holds the search of a table, .* its report is .*report\.html"):
        Study.open(tmp_path)
    with pytest.raises(StudyError, match="holds the search of a table; choose another name"):
        study.settle(StudyConfig())


def test_a_damaged_database_is_named(tmp_path: Path) -> None:
    import optuna

    (tmp_path / "study.db").write_bytes(b"this is no database, but long enough to look at" * 100)
    with pytest.raises(StudyError, match=r"cannot use the storage sqlite:.*study\.db: .*not a database"):
        TrialLog(f"sqlite:///{tmp_path / 'study.db'}", "s", ("accuracy", "params"), optuna.samplers.RandomSampler())


def test_a_storage_that_does_not_exist_is_named() -> None:
    import optuna

    with pytest.raises(StudyError, match="cannot use the storage nonsense://nowhere"):
        TrialLog("nonsense://nowhere", "s", ("accuracy", "params"), optuna.samplers.RandomSampler())


def test_trials_of_another_program_are_refused(tmp_path: Path) -> None:
    import optuna

    url = f"sqlite:///{tmp_path / 'other.db'}"
    other = optuna.create_study(study_name="s", storage=url, directions=["maximize", "minimize"])
    other.optimize(lambda trial: (trial.suggest_float("x", 0, 1), 1.0), n_trials=1)
    with pytest.raises(StudyError, match="trial 0 in the storage was not written by archfront"):
        TrialLog(url, "s", ("accuracy", "params"), optuna.samplers.RandomSampler())


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(StorageError, match="cannot use the folder"), Study(tmp_path / "runs" / "x").locked():
        pass


def test_an_edited_configuration_with_a_mistake_names_the_line(tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text(dump(StudyConfig()).replace("trials =", "trails ="))
    with pytest.raises(Exception, match=r"study\.toml:\d+: unknown key 'search\.trails'; did you mean 'trials'"):
        _ = Study.open(tmp_path).config


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("mirco", "unknown space 'mirco'; did you mean 'micro'"),
        ("nothing.py:space", "no such file"),
        ("{file}", "say which space of the file"),
        ("{file}:tiny_", "has no 'tiny_'; did you mean 'tiny'"),
        ("{file}:nope", "has no 'nope'; known: tiny$"),
        ("{file}:Stage", "is no Space and no function"),
        ("nothing.yaml", "cannot read nothing.yaml"),
    ],
)
def test_a_space_that_cannot_be_found_is_explained(space_file: Path, reference: str, message: str) -> None:
    with pytest.raises(SpaceError, match=message):
        find_space(reference.format(file=space_file), Image(1, 8, 8), 10)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import math\nx = 1 / 0\n", r"mine\.py:2: ZeroDivisionError: division by zero"),
        ("def space(input, classes)\n    pass\n", r"mine\.py:1: SyntaxError: expected ':'"),
        ("import nowhere_at_all\n", r"mine\.py:1: ModuleNotFoundError: No module named 'nowhere_at_all'"),
        ("import json\ndef space(input, classes):\n    return json.loads('{')\n", r"mine\.py:3: JSONDecodeError: "),
    ],
)
def test_what_fails_in_a_file_of_the_users_is_told_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "mine.py").write_text(text)
    with pytest.raises(SpaceError, match=message):
        find_space(f"{tmp_path / 'mine.py'}:space", Image(1, 8, 8), 10)


def test_a_space_for_another_input_is_refused(tmp_path: Path) -> None:
    import json

    from archfront.space.presets import PRESETS

    file = tmp_path / "space.json"
    file.write_text(json.dumps(PRESETS["micro"].make(Image(3, 32, 32), 10).to_dict()))
    with pytest.raises(SpaceError, match="is for input 3x32x32, the data gives 1x8x8"):
        find_space(str(file), Image(1, 8, 8), 10)


def test_a_space_with_the_wrong_number_of_classes_is_refused(tmp_path: Path, config: StudyConfig) -> None:
    import json

    from archfront.space.presets import PRESETS

    file = tmp_path / "space.json"
    file.write_text(json.dumps(PRESETS["micro"].make(Image(1, 8, 8), 7).to_dict()))
    with pytest.raises(ValueError, match=r"yields 7 scores, the task needs 10 scores: give the head classes=10"):
        Search(Study(tmp_path / "study"), config.model_copy(update={"space": str(file)}), Silent()).run()

from __future__ import annotations

from pathlib import Path

import pytest

from archfront.options import SHORT, base_config, check_known, configure, default_folder, find_study, folder_of
from archfront.search.config import ConfigError, StudyConfig, dump, load
from archfront.search.study import StudyError

DATA = str(Path("x.npz").resolve())


def test_every_short_name_changes_exactly_its_key() -> None:
    values = {
        "space": "mobile", "device": "local-cpu-torch", "budget": "params<=1M", "seed": 3, "storage": "sqlite:///x.db",
        "data": DATA, "size": [16, 24], "limit": 50, "skip_bad": True, "sampler": "tpe", "trials": 7, "minutes": 2.0,
        "patience": 20, "objectives": ["accuracy", "params"], "epochs": 2, "final_epochs": 4, "members": 3,
        "references": ["resnet18"], "evaluator": "alone", "alone_epochs": 9, "blocks_from": DATA,
        "backend": "ray", "cluster": "auto", "workers": 3,
    }  # fmt: skip
    assert values.keys() == SHORT.keys()
    before = StudyConfig().model_dump()
    for name, value in values.items():
        after = configure(StudyConfig(), {name: value}).model_dump()
        *section, key = SHORT[name]
        place = after[section[0]] if section else after
        assert (list(place[key]) if isinstance(place[key], tuple) else place[key]) == value
        place[key] = (before[section[0]] if section else before)[key]
        assert after == before


def test_a_section_is_changed_key_by_key_and_none_changes_nothing() -> None:
    config = configure(StudyConfig(), {"latency": {"seconds": 9.0}, "trials": None})
    assert config.latency.seconds == 9.0
    assert config.latency.blocks == StudyConfig().latency.blocks
    assert config.search == StudyConfig().search


def test_an_unknown_setting_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="unknown setting 'trails'; did you mean 'trials'"):
        configure(StudyConfig(), {"trails": 5})
    with pytest.raises(ConfigError, match=r"'search.trails'; did you mean 'trials'"):
        configure(StudyConfig(), {"search": {"trails": 5}})


def test_an_unusable_value_is_named_as_it_was_spelled() -> None:
    with pytest.raises(ConfigError, match=r"^--final-epochs: "):
        configure(StudyConfig(), {"final_epochs": -1}, spelling="--{}")
    with pytest.raises(ConfigError, match=r"^final_epochs: "):
        configure(StudyConfig(), {"final_epochs": -1})


def test_a_config_goes_before_the_settings_of_the_study_and_those_before_defaults(tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text(dump(configure(StudyConfig(), {"trials": 11})))
    (tmp_path / "other.toml").write_text("seed = 5\n")
    assert base_config(None, tmp_path).search.trials == 11
    assert base_config(tmp_path / "other.toml", tmp_path) == load(tmp_path / "other.toml")
    assert base_config(None, tmp_path / "new") == StudyConfig() == base_config(None, None)


@pytest.mark.parametrize(
    ("options", "folder"),
    [
        ({}, "micro-digits"),
        ({"space": "mobile", "data": "some/where/My images/"}, "mobile-My-images"),
        ({"space": "dir/spaces.py:small", "data": "x.npz"}, "small-x"),
        ({"space": "a/b.yaml"}, "b-digits"),
    ],
)
def test_the_default_folder_is_made_of_space_and_data(options: dict[str, str], folder: str) -> None:
    assert default_folder(configure(StudyConfig(), options)) == Path("runs") / folder


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".hidden", "a b"])
def test_a_name_that_is_a_path_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="study name"):
        default_folder(StudyConfig(), name)


def test_a_study_is_found_by_folder_by_name_and_by_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "runs" / "mine"
    folder.mkdir(parents=True)
    (folder / "study.toml").write_text("")
    monkeypatch.chdir(tmp_path)
    for given in ("mine", "runs/mine", folder, folder / "study.toml"):
        assert find_study(given).path.resolve() == folder
    with pytest.raises(StudyError, match="no study 'mime'; did you mean 'mine'"):
        find_study("mime")
    with pytest.raises(StudyError, match="no study"):
        find_study(tmp_path)


def test_a_study_that_is_not_there_is_begun_with_settings_and_not_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "runs" / "mine").mkdir(parents=True)
    (tmp_path / "runs" / "mine" / "study.toml").write_text("")
    monkeypatch.chdir(tmp_path)
    assert folder_of("mine") == Path("runs/mine")
    assert folder_of("runs/mine/study.toml") == Path("runs/mine")
    assert folder_of("new") == Path("new")
    check_known(folder_of("mine"), (None,))
    check_known(Path("mime"), (None, 5))
    with pytest.raises(StudyError, match=r"no study 'mime' to go on with, and a new one takes .*; did you mean 'mine'"):
        check_known(Path("mime"), (None, None))

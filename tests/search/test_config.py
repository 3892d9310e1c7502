"""study.toml: validated with line and nearest key, and written so that it reads back."""

from __future__ import annotations

from pathlib import Path

import pytest

from archfront.search.config import ConfigError, SearchConfig, StudyConfig, dump, load, validate


@pytest.mark.parametrize("commented", [False, True])
def test_a_written_configuration_reads_back_as_itself(tmp_path: Path, commented: bool) -> None:
    config = StudyConfig(
        space='odd "name"\\here.py:x',
        budget="latency<=5ms",
        search=SearchConfig(trials=7, objectives=("accuracy", "params")),
    )
    file = tmp_path / "study.toml"
    file.write_text(dump(config, commented))
    assert load(file) == config


def test_the_commented_configuration_names_every_key() -> None:
    text = dump(StudyConfig(), commented=True)
    for model in (
        StudyConfig,
        *(type(getattr(StudyConfig(), name)) for name in ("data", "supernet", "search", "latency", "final")),
    ):
        for name in model.model_fields:
            assert name in text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('space = "micro"\nbudgte = "x"\n', r"study\.toml:2: unknown key 'budgte'; did you mean 'budget'"),
        ("[search]\n\ntrails = 3\n", r"study\.toml:3: unknown key 'search.trails'; did you mean 'trials'"),
        ('[search]\ntrials = "many"\n', r"study\.toml:2: search\.trials: .*integer.*'many'"),
        ('[search]\nsampler = "nsga9"\n', r"study\.toml:2: search\.sampler: .*'nsga2'.*'nsga9'"),
        ("[data]\nvalidation = 1.5\n", r"study\.toml:2: data\.validation: .*less than 1"),
        ('seed = 1\nbudget = "latncy<=1ms"\n', r"study\.toml:2: budget: .*did you mean 'latency'"),
        ('[supernet]\naugment = "rotate"\n', r"study\.toml:2: supernet\.augment: .*unknown 'rotate'"),
        ('search.objectives = ["latency"]\n', r"study\.toml:1: search\.objectives: .*accuracy"),
        ("space = \n", r"no valid TOML"),
    ],
)
def test_mistakes_are_refused_with_line_and_nearest_key(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "study.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=message):
        load(file)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read .*nothing\.toml: No such file"):
        load(tmp_path / "nothing.toml")


def test_flags_are_validated_like_files() -> None:
    with pytest.raises(ConfigError, match=r"search\.trials"):
        validate({"search": {"trials": 0}})


def test_an_option_is_named_once_in_what_is_wrong_with_it() -> None:
    """The place is the option itself; a key of study.toml inside a message would name it again."""
    for data, place, message in (
        ({"budget": "latency<<5"}, "--budget", r"--budget: cannot read 'latency<<5'"),
        ({"search": {"trials": 0}}, "--trials", r"--trials: Input should be greater than or equal to 1"),
        ({"search": {"trials": 0}}, "study.toml:3", r"study\.toml:3: search\.trials: Input should be"),
    ):
        with pytest.raises(ConfigError, match=f"^{message}"):
            validate(data, lambda keys, place=place: place)

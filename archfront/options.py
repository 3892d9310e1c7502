"""From what a user says in short (`trials=40`, `--trials 40`) to the configuration of a study, and its folder."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from archfront.search.config import ConfigError, StudyConfig, load, validate
from archfront.search.study import Study, StudyError
from archfront.space.errors import nearest

SHORT: dict[str, tuple[str, ...]] = {
    "space": ("space",),
    "device": ("device",),
    "budget": ("budget",),
    "seed": ("seed",),
    "storage": ("storage",),
    "backend": ("backend",),
    "cluster": ("cluster", "address"),
    "workers": ("cluster", "workers"),
    "evaluator": ("evaluator",),
    "data": ("data", "source"),
    "size": ("data", "size"),
    "limit": ("data", "limit"),
    "skip_bad": ("data", "skip_bad"),
    "sampler": ("search", "sampler"),
    "trials": ("search", "trials"),
    "minutes": ("search", "minutes"),
    "patience": ("search", "patience"),
    "objectives": ("search", "objectives"),
    "epochs": ("supernet", "epochs"),
    "alone_epochs": ("alone", "epochs"),
    "final_epochs": ("final", "epochs"),
    "members": ("final", "members"),
    "references": ("final", "references"),
    "blocks_from": ("latency", "blocks_from"),
}
"""Short names of settings, and the keys in study.toml that they stand for."""

RUNS = Path("runs")
"""Where studies are kept that were given a name and no folder."""


def configure(base: StudyConfig, options: Mapping[str, Any], spelling: str = "{}") -> StudyConfig:
    """`base` with some settings changed.

    Args:
        options: by short name; or whole sections by name, as mappings: `latency={"seconds": 20}`. None changes nothing.
        spelling: how a short name is written where it comes from, for messages; an underscore becomes a dash in "--{}".

    Raises:
        ConfigError: an unknown name or an unusable value.
    """
    data = base.model_dump()
    for name, value in options.items():
        if value is None:
            continue
        if isinstance(value, Mapping) and isinstance(data.get(name), dict):
            data[name] |= value
            continue
        if name not in SHORT:
            raise ConfigError(f"unknown setting {name!r}{nearest(name, {*SHORT, *StudyConfig.model_fields})}")
        *section, key = SHORT[name]
        (data[section[0]] if section else data)[key] = value
    return validate(data, lambda keys: _spelled(keys, spelling))


def _spelled(keys: tuple[str, ...], spelling: str) -> str:
    for name, found in SHORT.items():
        if found == keys[: len(found)]:
            return spelling.format(name.replace("_", "-") if spelling.startswith("--") else name)
    return "configuration"


def base_config(config: StudyConfig | str | Path | None, study: str | Path | None) -> StudyConfig:
    """What options change: `config` if given, else the settings of an existing `study`, else the defaults."""
    if isinstance(config, StudyConfig):
        return config
    if config is not None:
        return load(config)
    if study is not None and Study(Path(study)).config_file.exists():
        return load(Study(Path(study)).config_file)
    return StudyConfig()


def default_folder(config: StudyConfig, name: str | None = None) -> Path:
    """The folder of a study that was given no folder: runs/NAME, the name made of space and data by default."""
    if name is not None:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
            raise ConfigError(f"study name {name!r}: use letters, digits, dots and dashes; a path is given as study")
        return RUNS / name
    space = config.space.rpartition(":")[2] if ".py:" in config.space else Path(config.space).stem
    data = Path(config.data.source).resolve().stem if config.data.source != "digits" else "digits"
    return RUNS / re.sub(r"[^A-Za-z0-9._-]+", "-", f"{space}-{data}").strip("-.")


def folder_of(given: str | Path) -> Path:
    """The folder that a study is meant by: itself, its name in `runs`, or its study.toml; `given` where there is none."""
    path = Path(given)
    if not path.exists() and (RUNS / path).is_dir():
        path = RUNS / path
    return path.parent if path.is_file() and path.name == "study.toml" else path


def find_study(given: str | Path) -> Study:
    """An existing study by its folder, or by its name in `runs`.

    Raises:
        StudyError: there is none.
    """
    path = folder_of(given)
    if not path.exists():
        raise StudyError(f"there is no study {str(given)!r}{nearest(str(given), _there())}")
    return Study.open(path)


def check_known(folder: Path, given: Iterable[Any]) -> None:
    """Refuse to begin a study in `folder` by its name alone: whoever names one and says nothing else means to go on.

    Args:
        given: the settings that came with it, None where one did not.

    Raises:
        StudyError: there is no study, and no setting for a new one.
    """
    study = Study(folder)
    if study.of_table:
        _ = Study.open(folder)  # says what it is
    if not study.config_file.exists() and all(value is None for value in given):
        raise StudyError(
            f"there is no study {str(folder)!r} to go on with, and a new one takes settings, such as space and data, or a "
            f"config{nearest(folder.name, _there())}"
        )


def _there() -> list[str]:
    """The names of the studies in `runs`."""
    return sorted(found.parent.name for found in RUNS.glob("*/study.toml"))

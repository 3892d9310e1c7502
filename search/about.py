"""What a study is about, kept so that its results are read without its data and its space at hand."""

from __future__ import annotations

import json
import platform
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archfront.space.errors import SpaceError
from archfront.space.files import write_text
from archfront.space.space import Space

from .study import Study, StudyError, read_json

if TYPE_CHECKING:
    from archfront.evaluators.data import Dataset
    from archfront.hw_profiles.profile import Profile

PACKAGES = ("archfront", "torch", "numpy", "optuna", "onnx", "onnxruntime")
"""Packages whose versions results depend on."""


def write_about(study: Study, data: Dataset, space: Space, profile: Profile) -> None:
    """Write about.json."""
    size, text = counted(space)
    about = {
        "data": data.to_dict(),
        "space": {"text": text, "size": size, "sites": len(space.sites), "input": str(space.input)},
        "profile": {**profile.model_dump(), "digest": profile.digest},
        "versions": {"python": platform.python_version()} | {name: version(name) for name in PACKAGES},
    }
    write_text(_file(study), json.dumps(about, indent=1, ensure_ascii=False) + "\n")


def counted(space: Space) -> tuple[int, str]:
    """The size of a space and its tree; without predicates, and saying so, where it is too large to count with them."""
    try:
        return space.size, str(space)
    except SpaceError:
        return space.graph.root.size, f"{space}\nwhere: predicates, which leave an unknown share of the architectures"


def read_about(study: Study) -> dict[str, Any]:
    """What `write_about` kept.

    Raises:
        StudyError: the search did not come that far.
    """
    if not _file(study).exists():
        raise StudyError(
            f"{study.path} holds nothing to show yet: its search stopped before the data were loaded; "
            f"archfront search --study {study.path} goes on with it"
        )
    return read_json(_file(study))


def _file(study: Study) -> Path:
    return study.path / "about.json"

"""Published networks on the device of a study: for the eye, beside the front; they are measured, not trained."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from archfront.hw_profiles.metrics import Measurement
from archfront.space.architecture import Architecture
from archfront.space.errors import ShapeError, SpecError
from archfront.space.files import write_text
from archfront.space.references import reference
from archfront.space.types import Feature

from .config import ConfigError
from .study import Study, read_json


def known_networks(names: Sequence[str], x: Feature, classes: int) -> dict[str, Architecture]:
    """The published networks of these names, for the images and the classes of a study.

    Raises:
        ConfigError: there is no such network, or it does not take these images.
    """
    found = {}
    for name in names:
        try:
            published = reference(name)
            found[published.name] = published.architecture(x, classes)
        except (SpecError, ShapeError) as error:
            raise ConfigError(f"final.references: {name}: {error}") from None
    return found


def save_known(study: Study, measured: Mapping[str, Mapping[str, Measurement]]) -> None:
    """Write references.json."""
    data = {name: {metric: m.to_dict() for metric, m in found.items()} for name, found in measured.items()}
    write_text(study.path / "references.json", json.dumps(data, indent=1) + "\n")


def load_known(study: Study) -> dict[str, dict[str, Measurement]]:
    """What was measured of published networks, by name; nothing before the last stage."""
    file = study.path / "references.json"
    if not file.exists():
        return {}
    return {name: {metric: Measurement(**m) for metric, m in found.items()} for name, found in read_json(file).items()}

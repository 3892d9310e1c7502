"""The model card: what an exported network is, how good, on which data, and how the files were checked."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from archfront.hw_profiles.metrics import METRICS
from archfront.space.architecture import Architecture
from archfront.space.types import Scores

from .definitions import ExportError

SCHEMA = 1
"""Version of the card's layout; raised when old cards would be read wrongly."""

OWN_KEYS = {
    "schema",
    "name",
    "digest",
    "input",
    "output",
    "params",
    "architecture",
    "verification",
    "versions",
    "files",
}
"""What the export writes itself."""


def own_card(
    architecture: Architecture,
    name: str,
    params: int,
    opset: int | None,
    differences: Mapping[str, float],
    data: Mapping[str, Any],
) -> dict[str, Any]:
    """The part of a card that follows from the architecture, from the checks of its files and from `data`."""
    packages = ("archfront", "torch", *(("onnx", "onnxscript", "onnxruntime") if opset else ()))
    return {
        "schema": SCHEMA,
        "name": name,
        "digest": architecture.digest,
        "input": {"shape": ["N", *architecture.input.shapes[0]], "dtype": "float32"} | _preparation(data),
        "output": {"shapes": [["N", *shape] for shape in architecture.output.shapes]},
        "params": params,
        "architecture": architecture.to_dict(),
        "verification": {"max_relative_difference": dict(differences), "onnx_opset": opset},
        "versions": {"python": platform.python_version()} | {package: version(package) for package in packages},
    }


def check_card(card: Mapping[str, Any], architecture: Architecture) -> None:
    """Refuse a card that is no JSON, lacks what a number needs to be understood, or speaks of another network."""
    taken = sorted(set(card) & OWN_KEYS)
    if taken:
        raise ExportError(f"card: {', '.join(map(repr, taken))} is written by the export itself; use another key")
    to_json(card)
    for name, entry in card.get("metrics", {}).items():
        if not isinstance(entry, Mapping) or not {"value", "provenance"} <= set(entry):
            raise ExportError(f"card: metrics.{name} needs 'value' and 'provenance', as Measurement.to_dict() has")
    data, output = card.get("data", {}), architecture.output
    if "classes" in data and isinstance(output, Scores) and len(data["classes"]) != output.classes:
        raise ExportError(f"card: data.classes has {len(data['classes'])} names, the network yields {output}")
    channels = architecture.input.shapes[0][0]
    for key in ("mean", "std") if "normalise" in data else ():
        count = len(data["normalise"].get(key, ()))
        if count != channels:
            raise ExportError(f"card: data.normalise.{key} has {count} values, the input {channels} channels")


def to_json(card: Mapping[str, Any]) -> str:
    """The text of a card."""
    try:
        return json.dumps(card, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    except (TypeError, ValueError) as error:
        raise ExportError(f"card: {error}; a card holds finite numbers, strings, lists and dicts") from None


def describe(card: Mapping[str, Any]) -> str:
    """What people want to read of a card where they read the code: classes, normalisation, metrics."""
    data, metrics = card.get("data", {}), card.get("metrics", {})
    lines = []
    if "classes" in data:
        lines.append(f"Classes: {', '.join(map(str, data['classes']))}.")
    if "normalise" in data:
        prepared = _preparation(data)
        lines.append(f"Normalise images x first, channel by channel: {prepared['normalised']}")
        lines.append(f"    x     {prepared['x']}")
        for key in ("mean", "std"):
            lines.append(f"    {key:<4}  {', '.join(f'{value:.6g}' for value in data['normalise'][key])}")
    if metrics:
        width = max(map(len, metrics))
        lines.append("Metrics:")
        lines += [f"    {name:<{width}}  {_printed(name, entry)}" for name, entry in metrics.items()]
    return "\n".join(lines)


def _preparation(data: Mapping[str, Any]) -> dict[str, str]:
    """How images become inputs: what to compute, and of which values, those that archfront loaded."""
    if "normalise" not in data:
        return {}
    scale = data["normalise"].get("scale", 1)
    if scale == 1:
        return {"normalised": "(x - mean) / std", "x": "the values that the data set stores"}
    values = f"0 to {scale:g}, as in 8-bit images"
    if data.get("source") == "digits":
        values = "scikit-learn's digits, which are 0 to 16, times 15"
    return {"normalised": f"(x / {scale:g} - mean) / std", "x": values}


def _printed(name: str, measurement: Mapping[str, Any]) -> str:
    show = METRICS[name].format if name in METRICS else "{:g}".format
    spread, samples = measurement.get("spread"), measurement.get("samples", 1)
    notes = [str(measurement["provenance"])]
    notes += [f"± {show(spread)}"] if spread else []
    notes += [f"{samples:,} samples"] if samples > 1 else []
    return f"{show(measurement['value'])} ({', '.join(notes)})"

"""The last stage: members of the front are extracted, fine-tuned, measured on the device, and tested once."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from archfront.hw_profiles.metrics import Measurement, metric
from archfront.space.architecture import Architecture
from archfront.space.files import write_text

from .budget import Budget
from .pareto import non_dominated
from .study import Study, read_json
from .trials import Trial


@dataclass(frozen=True)
class Finalist:
    """A front member and what was found out about it as a stand-alone network."""

    number: int
    architecture: Architecture
    measurements: Mapping[str, Measurement]
    front: bool = False
    picked: bool = False
    noisy: bool = False

    @property
    def values(self) -> dict[str, float]:
        """The measured values by metric."""
        return {name: measurement.value for name, measurement in self.measurements.items()}

    def to_dict(self) -> dict[str, object]:
        """Plain data."""
        return {
            "number": self.number,
            "architecture": self.architecture.to_dict(),
            "measurements": {name: m.to_dict() for name, m in self.measurements.items()},
            "front": self.front,
            "picked": self.picked,
            "noisy": self.noisy,
        }


def save_finalists(study: Study, finalists: Sequence[Finalist]) -> None:
    """Write final.json."""
    write_text(study.final_file, json.dumps({"finalists": [f.to_dict() for f in finalists]}, indent=1) + "\n")


def load_finalists(study: Study) -> list[Finalist]:
    """The finalists so far; none before the last stage began."""
    if not study.final_file.exists():
        return []
    return [
        Finalist(
            number=entry["number"],
            architecture=Architecture.from_dict(entry["architecture"]),
            measurements={name: Measurement(**m) for name, m in entry["measurements"].items()},
            front=entry["front"],
            picked=entry["picked"],
            noisy=entry["noisy"],
        )
        for entry in read_json(study.final_file)["finalists"]
    ]


def minimised(
    rows: Sequence[Mapping[str, float]], metrics: Sequence[str]
) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Values of `metrics` (rows, metrics), negated where more is better; NaN where a row lacks one."""
    signs = [1.0 if metric(name).direction == "min" else -1.0 for name in metrics]
    table = [[sign * row.get(name, np.nan) for name, sign in zip(metrics, signs, strict=True)] for row in rows]
    return np.array(table, dtype=float).reshape(len(rows), len(metrics))


def ranked_front(trials: Sequence[Trial], metrics: Sequence[str]) -> Iterator[Trial]:
    """Complete trials in the order in which they deserve a place among the finalists.

    Front by front (non-dominated sorting), and inside a front those first that are farthest from the ones already taken
    (greedy farthest point on scaled objectives), the two ends of the first objective leading. Few are ever asked for,
    so a front is only found once those before it are used up.
    """
    left = [trial for trial in trials if trial.complete]
    values = minimised([trial.values for trial in left], metrics)
    while len(values) and (front := non_dominated(values)).any():
        members = np.flatnonzero(front)
        yield from (left[members[i]] for i in _spread_order(values[front]))
        left = [trial for trial, taken in zip(left, front, strict=True) if not taken]
        values = values[~front]


def _spread_order(
    values: np.ndarray[tuple[int, int], np.dtype[np.float64]],
) -> Iterator[int]:
    span = values.max(axis=0) - values.min(axis=0)
    scaled = (values - values.min(axis=0)) / np.where(span > 0, span, 1.0)
    following = int(scaled[:, 0].argmin())
    distance = np.full(len(values), np.inf)
    for _ in values:
        yield following
        distance = np.minimum(distance, np.abs(scaled - scaled[following]).sum(axis=1))
        distance[following] = -1
        following = int(distance.argmax())


def decide(finalists: Sequence[Finalist], metrics: Sequence[str], budget: Budget) -> list[Finalist]:
    """Mark the front among the finalists that keep the budget as measured, and the most accurate of them as picked."""
    values = minimised([finalist.values for finalist in finalists], metrics)
    good = np.array([not budget.broken(finalist.values) for finalist in finalists], dtype=bool)
    values[~good] = np.nan
    front = non_dominated(values) if len(finalists) else np.zeros(0, dtype=bool)
    best = int(np.where(front, values[:, 0], np.inf).argmin()) if front.any() else -1
    return [
        Finalist(f.number, f.architecture, f.measurements, bool(front[i]), i == best, f.noisy)
        for i, f in enumerate(finalists)
    ]

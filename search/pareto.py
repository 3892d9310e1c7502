"""Pareto fronts and the hypervolume they dominate. Every objective is minimised; callers negate what they maximise."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from archfront.hw_profiles.metrics import metric
from archfront.space.errors import ArchfrontError

Values = NDArray[np.float64]


def non_dominated(values: Values) -> NDArray[np.bool_]:
    """Which rows of `values` (n, m) no other row dominates.

    A row dominates another when it is nowhere worse and somewhere better, so equal rows are kept together. A row with
    a NaN cannot be compared: it is never on the front and keeps nobody off it.
    """
    values = _matrix(values)
    front = np.zeros(len(values), dtype=bool)
    kept = np.empty((0, values.shape[1]))
    order = np.lexsort(values.T[::-1])  # a row can only be dominated by one that sorts before it
    for i in order[~np.isnan(values[order]).any(axis=1)]:
        row = values[i]
        if not ((kept <= row).all(axis=1) & (kept < row).any(axis=1)).any():
            front[i] = True
            kept = np.vstack((kept, row))
    return front


def hypervolume(values: Values, reference: Values) -> float:
    """Volume between `reference` (m,) and the rows of `values` (n, m) that are better than it in every objective.

    Exact for any number of objectives: sweeping the plane for two; for more, the boxes of all rows, each less what the rows
    that reach deeper in the last objective have of it, which is a volume in one objective less (While, Bradstreet & Barone,
    2012, A Fast Way of Calculating Exact Hypervolumes).
    """
    values, reference = _matrix(values), np.asarray(reference, dtype=float)
    if reference.shape != (values.shape[1],) or not np.isfinite(reference).all():
        raise ArchfrontError(f"the reference point needs {values.shape[1]} finite values, got {reference.tolist()}")
    return _volume(values[(values < reference).all(axis=1)], reference)


def hypervolume_over(values: Values, reference: Values) -> Values:
    """Hypervolume (n,) of the first 1, 2, ..., n rows of `values` (n, m). Rows with a NaN change nothing.

    Each row adds its own box less the part of it that the rows before it already dominate.
    """
    values, reference = _matrix(values), np.asarray(reference, dtype=float)
    curve = np.zeros(len(values))
    front = np.empty((0, values.shape[1]))
    total = 0.0
    for i, row in enumerate(values):
        if (row < reference).all() and not (front <= row).all(axis=1).any():
            total += float(np.prod(reference - row)) - hypervolume(np.maximum(front, row), reference)
            front = np.vstack((front[~(row <= front).all(axis=1)], row))
        curve[i] = total
    return curve


class RecentGain:
    """Which share of the hypervolume the last points brought, as points come in.

    The reference point is the worst value of each metric so far. What it takes to add a point grows with the front and
    with `last`, not with the number of points.

    Args:
        metrics: of the objectives.
        last: how many points count as recent.
    """

    def __init__(self, metrics: Sequence[str], last: int) -> None:
        self._signs = np.array([-1.0 if metric(name).direction == "max" else 1.0 for name in metrics])
        self.last = last
        self._front = np.empty((0, len(metrics)))
        self._recent: deque[Values] = deque()
        self._worst = np.full(len(metrics), -np.inf)

    def add(self, values: Sequence[float] | None) -> None:
        """Take in the objectives of the next point; None for one without."""
        point = self._signs * np.array(values, dtype=float) if values is not None else np.full(len(self._signs), np.nan)
        self._worst = np.fmax(self._worst, point)
        self._recent.append(point)
        if len(self._recent) > self.last:
            self._keep(self._recent.popleft())

    def _keep(self, point: Values) -> None:
        """Let a point that is recent no more into the front, if it belongs there."""
        if not np.isnan(point).any() and not (self._front <= point).all(axis=1).any():
            self._front = np.vstack((self._front[~(point <= self._front).all(axis=1)], point))

    @property
    def share(self) -> float:
        """What the last points brought, as a share of what all brought; 0 where there is nothing yet."""
        if not np.isfinite(self._worst).all():
            return 0.0
        now = hypervolume(np.vstack((self._front, *self._recent)), self._worst)
        return 1 - hypervolume(self._front, self._worst) / now if now else 0.0


def _matrix(values: Values) -> Values:
    values = np.asarray(values, dtype=float)
    if values.ndim != 2 or values.shape[1] < 1:
        raise ArchfrontError(f"expected one row a point and one column an objective, got shape {values.shape}")
    return values


def _volume(points: Values, reference: Values) -> float:
    if len(points) == 0:
        return 0.0
    if points.shape[1] == 1:
        return float(reference[0] - points[:, 0].min())
    if points.shape[1] == 2:
        points = points[np.argsort(points[:, 1], kind="stable")]
        reached = np.minimum.accumulate(points[:, 0])
        heights = np.diff(np.append(points[:, 1], reference[1]))
        return float(((reference[0] - reached) * heights).sum())
    points = points[non_dominated(points)]
    points = points[np.argsort(-points[:, -1], kind="stable")]
    depths, rest, corner = reference[-1] - points[:, -1], points[:, :-1], reference[:-1]
    areas = (corner - rest).prod(axis=1) - [_volume(np.maximum(rest[i + 1 :], p), corner) for i, p in enumerate(rest)]
    return float((depths * areas).sum())

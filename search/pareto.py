"""Pareto fronts and the hypervolume they dominate. Every objective is minimised; callers negate what they maximise."""

from __future__ import annotations

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

    Exact for any number of objectives: sweeping the plane for two, and slicing along the last objective for more
    (While, Hingston, Barone, Huband, 2006, A faster algorithm for calculating hypervolume).
    """
    values, reference = _matrix(values), np.asarray(reference, dtype=float)
    if reference.shape != (values.shape[1],) or not np.isfinite(reference).all():
        raise ArchfrontError(f"the reference point needs {values.shape[1]} finite values, got {reference.tolist()}")
    inside = values[(values < reference).all(axis=1)]
    return _volume(inside[non_dominated(inside)], reference)


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


def recent_gain(values: Sequence[Sequence[float] | None], metrics: Sequence[str], last: int) -> float:
    """The share of the hypervolume that the last so many of these points added.

    Args:
        values: one point a candidate in the order of evaluation, None for one that failed.
        metrics: the metric of each value, by name; says whether more is better.
        last: how many points count as recent.

    The reference point is the worst value of each metric so far.
    """
    signs = np.array([-1.0 if metric(name).direction == "max" else 1.0 for name in metrics])
    points = [None if point is None else signs * np.asarray(point) for point in values]
    known = np.array([point for point in points if point is not None]).reshape(-1, len(metrics))
    if not len(known):
        return 0.0
    before = np.array([point for point in points[:-last] if point is not None]).reshape(-1, len(metrics))
    worst = known.max(axis=0)
    now = hypervolume(known[non_dominated(known)], worst)
    return 1 - hypervolume(before[non_dominated(before)], worst) / now if now else 0.0


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
    points = points[np.argsort(points[:, -1], kind="stable")]
    if points.shape[1] == 2:
        reached = np.minimum.accumulate(points[:, 0])
        heights = np.diff(np.append(points[:, 1], reference[1]))
        return float(((reference[0] - reached) * heights).sum())
    depths = np.diff(np.append(points[:, -1], reference[-1]))
    slices = (_volume(points[: i + 1, :-1], reference[:-1]) if depth > 0 else 0.0 for i, depth in enumerate(depths))
    return float(sum(depth * area for depth, area in zip(depths, slices, strict=True)))

"""Fronts and hypervolumes against brute force and inclusion-exclusion."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pytest

from archfront.search.pareto import RecentGain, hypervolume, hypervolume_over, non_dominated
from archfront.space.errors import ArchfrontError


def dominates(a: np.ndarray, b: np.ndarray) -> bool:
    return all(x <= y for x, y in zip(a, b, strict=True)) and any(x < y for x, y in zip(a, b, strict=True))


def inclusion_exclusion(points: np.ndarray, reference: np.ndarray) -> float:
    """Volume of a union of boxes from the volumes of all their intersections."""
    total = 0.0
    for size in range(1, len(points) + 1):
        for chosen in combinations(points, size):
            sides = np.clip(reference - np.max(chosen, axis=0), 0, None)
            total += (-1) ** (size + 1) * float(np.prod(sides))
    return total


@pytest.mark.parametrize("objectives", [1, 2, 3, 4])
@pytest.mark.parametrize("levels", [3, 1000])  # few levels: many ties and duplicates
def test_the_front_is_what_pairwise_comparison_leaves(objectives: int, levels: int) -> None:
    values = np.random.default_rng(objectives).integers(levels, size=(60, objectives)).astype(float)
    expected = [not any(dominates(other, row) for other in values) for row in values]
    assert non_dominated(values).tolist() == expected


def test_a_row_with_nan_is_never_on_the_front_and_dominates_nothing() -> None:
    values = np.array([[np.nan, 0.0], [1.0, 2.0], [2.0, 1.0], [0.0, np.nan], [3.0, 3.0]])
    assert non_dominated(values).tolist() == [False, True, True, False, False]


def test_the_front_of_nothing_is_empty() -> None:
    assert non_dominated(np.empty((0, 2))).shape == (0,)


def test_hypervolume_of_a_staircase_computed_by_hand() -> None:
    points = np.array([[1.0, 3.0], [2.0, 2.0], [3.0, 1.0], [3.5, 3.5]])
    assert hypervolume(points, np.array([4.0, 4.0])) == 3 + 2 + 1


@pytest.mark.parametrize("objectives", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("seed", range(5))
def test_hypervolume_equals_inclusion_exclusion(objectives: int, seed: int) -> None:
    points = np.random.default_rng(seed).random((9, objectives)) * 1.3  # some lie outside the reference box
    points[3] = points[2]
    reference = np.ones(objectives)
    assert hypervolume(points, reference) == pytest.approx(inclusion_exclusion(points, reference), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("objectives", [2, 3, 4])
def test_the_curve_equals_the_hypervolume_of_every_prefix(objectives: int) -> None:
    points = np.random.default_rng(0).random((60, objectives)) * 1.2
    points[10] = points[5]
    points[20, 0] = np.nan
    reference = np.ones(objectives)
    prefixes = [
        hypervolume(p[~np.isnan(p).any(axis=1)], reference) for p in (points[: i + 1] for i in range(len(points)))
    ]
    assert hypervolume_over(points, reference) == pytest.approx(prefixes, rel=1e-9)


def test_points_outside_the_reference_box_add_nothing() -> None:
    assert hypervolume(np.array([[2.0, 0.0], [0.0, 1.0]]), np.array([1.0, 1.0])) == 0.0


@pytest.mark.parametrize("reference", [[1.0], [1.0, np.inf], [1.0, 1.0, 1.0]])
def test_a_reference_that_does_not_fit_is_refused(reference: list[float]) -> None:
    with pytest.raises(ArchfrontError, match="2 finite values"):
        hypervolume(np.zeros((1, 2)), np.array(reference))


def test_values_that_are_no_table_are_refused() -> None:
    with pytest.raises(ArchfrontError, match="one row a point"):
        non_dominated(np.zeros(3))


def recent_gain(points: Sequence[tuple[float, float] | None], last: int) -> float:
    gain = RecentGain(("accuracy", "latency_ms"), last)
    for point in points:
        gain.add(point)
    return gain.share


def test_recent_gain_is_the_share_of_the_staircase_that_the_last_points_add() -> None:
    """Accuracy up, cost down; the corner is (0, 4). The first two cover 0.5 x 3 + 0.25 x 2 = 2, the fifth adds 0.25 x 1."""
    points = [(0.5, 1.0), (0.75, 2.0), (0.0, 4.0), None, (0.25, 0.0), (0.1, 3.5)]
    assert recent_gain(points, 2) == pytest.approx(0.25 / 2.25)
    assert recent_gain(points, 1) == 0.0
    assert recent_gain(points, 6) == 1.0
    assert recent_gain([None, None], 1) == 0.0
    assert recent_gain([], 1) == 0.0


def test_recent_gain_of_points_taken_in_one_by_one_is_that_of_all_points_at_once() -> None:
    rng = np.random.default_rng(0)
    points = [None if rng.random() < 0.1 else tuple(rng.integers(1, 30, 2) / 10) for _ in range(120)]
    for count in range(1, len(points) + 1, 7):
        known = [np.array([-p[0], p[1]]) if p else None for p in points[:count]]
        rows = np.array([p for p in known if p is not None])
        before = np.array([p for p in known[:-10] if p is not None]).reshape(-1, 2)
        worst = rows.max(axis=0)
        now = hypervolume(rows, worst)
        assert recent_gain(points[:count], 10) == pytest.approx(1 - hypervolume(before, worst) / now if now else 0.0)

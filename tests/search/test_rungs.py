"""Early stopping of trainings: what is stopped was dominated, and small networks of the front are not."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from archfront.evaluators.stand_alone import Rung
from archfront.hw_profiles.metrics import Measurement
from archfront.search.rungs import Rungs, ahead
from archfront.space.architecture import Architecture

ANY: Architecture = None  # type: ignore[assignment] - these costs are looked up by the order of asking


def dominates(a: Sequence[float], b: Sequence[float]) -> bool:
    return all(x <= y for x, y in zip(a, b, strict=True)) and any(x < y for x, y in zip(a, b, strict=True))


def depth(rows: list[tuple[float, ...]], i: int) -> int:
    """How long a chain of rows, each dominating the next, ends in row `i`: the number of its front."""
    return max((1 + depth(rows, j) for j in range(len(rows)) if dominates(rows[j], rows[i])), default=0)


@given(arrays(float, st.tuples(st.integers(1, 9), st.integers(1, 3)), elements=st.integers(0, 4).map(float)))
def test_rows_ahead_are_those_on_better_fronts(values: np.ndarray) -> None:
    rows = [tuple(row) for row in values]
    own = depth(rows, len(rows) - 1)
    assert ahead(values) == sum(depth(rows, i) < own for i in range(len(rows)))


@pytest.mark.parametrize(
    ("epochs", "eta", "expected"),
    [(27, 3, (1, 3, 9)), (28, 3, (1, 3, 9, 27)), (4, 2, (1, 2)), (1, 3, ()), (10, 1, ()), (100, 4, (1, 4, 16, 64))],
)
def test_rungs_are_the_powers_of_eta_before_the_end(
    epochs: int, eta: int, expected: tuple[int, ...], tmp_path: Path
) -> None:
    assert Rungs(tmp_path, epochs, eta, lambda a: []).milestones == expected


def decisions(folder: Path, points: Sequence[tuple[float, ...]], eta: int) -> list[bool]:
    """What is decided at the first rung about trainings that come to it in this order, (accuracy, costs...) each."""
    costs = iter([point[1:] for point in points])
    rungs = Rungs(folder, 100, eta, lambda architecture: next(costs))
    found = []
    for number, (accuracy, *_) in enumerate(points):
        rungs.judge(ANY, str(number), 1, Measurement(accuracy, "measured"))
        rung = rungs.rung(str(number), 1)
        assert rung is not None
        found.append(rung.goes_on)
    return found


def test_with_accuracy_alone_this_is_plain_halving(tmp_path: Path) -> None:
    accuracies = np.random.default_rng(0).permutation(40) / 40
    for number, goes_on in enumerate(decisions(tmp_path, [(a,) for a in accuracies], 3)):
        better = int((accuracies[:number] > accuracies[number]).sum())
        assert goes_on == (better + 1 <= math.ceil((number + 1) / 3))


def networks(count: int) -> list[tuple[float, float]]:
    """(accuracy, latency) after an epoch: the larger, the more accurate, with some below the best of their size."""
    rng = np.random.default_rng(1)
    latency = rng.uniform(1, 10, count)
    accuracy = 0.3 + 0.05 * latency - rng.choice([0.0, 0.1, 0.2, 0.3], count, p=[0.1, 0.3, 0.3, 0.3])
    return list(zip(accuracy.tolist(), latency.tolist(), strict=True))


def test_what_is_stopped_was_dominated_by_one_that_came_before(tmp_path: Path) -> None:
    points = networks(60)
    goes_on = decisions(tmp_path, points, 3)
    assert not all(goes_on)
    for number, kept in enumerate(goes_on):
        accuracy, latency = points[number]
        assert kept or any(dominates((-a, t), (-accuracy, latency)) for a, t in points[:number])


def test_small_networks_of_the_front_go_on_where_accuracy_alone_would_stop_every_one_of_them(tmp_path: Path) -> None:
    points = networks(60)
    small = [
        i
        for i, (accuracy, latency) in enumerate(points)
        if i > 10 and latency < 4 and not any(dominates((-a, t), (-accuracy, latency)) for a, t in points)
    ]
    assert len(small) >= 3
    by_both = decisions(tmp_path / "both", points, 3)
    by_accuracy = decisions(tmp_path / "accuracy", [(accuracy,) for accuracy, _ in points], 3)
    assert all(by_both[i] for i in small)
    assert not any(by_accuracy[i] for i in small)
    assert sum(by_both) < 0.6 * len(points)


def test_decisions_are_kept_and_shared_by_all_who_look_into_the_folder(tmp_path: Path) -> None:
    first, second = (Rungs(tmp_path, 9, 2, lambda architecture: [1.0]) for _ in range(2))
    good, bad = Measurement(0.9, "measured", 0.01, 100), Measurement(0.1, "measured", 0.02, 100)
    first.judge(ANY, "a", 1, good)
    second.judge(ANY, "b", 1, bad)
    assert first.rung("b", 1) == Rung(bad, False)
    assert second.rung("a", 1) == Rung(good, True)
    assert second.rung("a", 2) is None
    first.judge(ANY, "c", 2, bad)  # the first one at another rung
    assert second.rung("c", 2) == Rung(bad, True)

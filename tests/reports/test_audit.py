"""The audit section: every figure in words, every network a point at its place, nothing unescaped."""

from __future__ import annotations

import re
from typing import Any

import pytest

from archfront.reports.audit import HEIGHT, LEFT, WIDTH, Scale, scatter, section


def network(estimate: float, *accuracies: float) -> dict[str, Any]:
    mean = sum(accuracies) / len(accuracies)
    return {
        "group": "spread",
        "accuracy": mean,
        "accuracies": list(accuracies),
        "ratings": {"supernet_accuracy": estimate},
    }


AUDIT = {
    "options": {"epochs": 3, "seeds": 2},
    "data": {"train": 1000, "validation": 200},
    "networks": [network(0.5, 0.6, 0.62), network(0.6, 0.7, 0.74), network(0.55, 0.8, 0.8)],
    "groups": [
        {
            "name": "spread", "count": 3, "top": 1, "macs": [1e6, 2.5e6], "verdict": "<b>bold</b>",
            "ratings": [
                {
                    "title": "Estimate", "spearman": [0.5, -0.1, 0.9], "kendall": [0.33, 0, 1],
                    "beyond": [0.4, -0.001, 0.6], "recall": 0.5, "regret": 0.012,
                }
            ],
        }
    ],
}  # fmt: skip


def test_no_audit_gives_no_section() -> None:
    assert section(None) == []


def test_figures_are_told_in_words() -> None:
    (group,) = section(AUDIT)
    assert group["rows"] == [
        {
            "title": "Estimate",
            "spearman": "0.50 (−0.10 to 0.90)",
            "kendall": "0.33 (0.00 to 1.00)",
            "beyond": "0.40 (0.00 to 0.60)",
            "recall": "50 %",
            "regret": "1.2",
        }
    ]
    assert "3 networks of 1 M to 2.5 M multiply-adds" in group["facts"]
    assert "1,000 images, 3 epochs, 2 seeds" in group["facts"]


def test_an_audit_from_before_says_that_a_figure_is_missing() -> None:
    (older,) = AUDIT["groups"]
    ratings = [{name: value for name, value in rating.items() if name != "beyond"} for rating in older["ratings"]]  # type: ignore[index, union-attr]
    (group,) = section({**AUDIT, "groups": [{**older, "ratings": ratings}]})  # type: ignore[dict-item]
    assert group["rows"][0]["beyond"] == "–"


def test_points_stand_in_the_order_of_their_values_with_bars_over_their_seeds() -> None:
    svg = str(scatter(AUDIT["networks"], "supernet_accuracy"))  # type: ignore[arg-type]
    points = [tuple(map(float, p)) for p in re.findall(r'cx="([\d.]+)" cy="([\d.]+)"', svg)]
    assert points[0][0] < points[2][0] < points[1][0]
    assert points[2][1] < points[1][1] < points[0][1]  # higher accuracy stands higher
    assert all(LEFT <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in points)
    bars = [tuple(map(float, bar)) for bar in re.findall(r'd="M[\d.]+ ([\d.]+)V([\d.]+)"/><circle', svg)]
    assert all(low >= y >= high for (low, high), (_, y) in zip(bars, points, strict=True))


def test_a_rating_that_is_no_accuracy_is_named_and_stands_in_its_own_unit() -> None:
    networks = [
        {"ratings": {"block_agreement": -0.5 + 0.1 * i}, "accuracy": 0.4 + 0.1 * i, "accuracies": [0.4 + 0.1 * i]}
        for i in range(3)
    ]
    svg = str(scatter(networks, "block_agreement"))
    assert "Block agreement (no labels)" in svg
    assert "Supernet" not in svg
    assert ">-0.4</text>" in svg


def test_a_network_without_an_estimate_is_left_out() -> None:
    svg = str(scatter([*AUDIT["networks"], network(None, 0.1, 0.2)], "supernet_accuracy"))  # type: ignore[misc,arg-type]
    assert svg.count("audit-point") == 3
    assert "3 networks" in svg


@pytest.mark.parametrize("values", [[0.0, 100.0], [47.3, 51.2], [50.0, 50.0], [0.001, 0.002]])
def test_ticks_are_few_and_inside(values: list[float]) -> None:
    scale = Scale(values, 0, 100)
    assert 2 <= len(scale.ticks) <= 6
    assert all(scale.low <= tick <= scale.high for tick in scale.ticks)

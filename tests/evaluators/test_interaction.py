"""Interactions between tiles, for scores whose interactions are known."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from archfront.evaluators.interaction import InteractionError, interaction_strength

IMAGE = torch.ones(1, 8, 12)
ORDERS = (0, 3, 7, 14)


def visible(images: Tensor) -> Tensor:
    """The number of visible tiles of a 4 x 4 grid on an image of ones."""
    return images.mean((1, 2, 3)) * 16


def strength(score: object, **options: object) -> list[float]:
    return interaction_strength(score, IMAGE, orders=ORDERS, **options).tolist()  # type: ignore[arg-type]


def test_a_score_that_adds_up_tiles_has_no_interactions() -> None:
    weights = torch.randn(1, 8, 12)
    assert strength(lambda x: (x * weights).sum((1, 2, 3))) == pytest.approx([0.0] * 4, abs=1e-5)


def test_the_square_of_the_number_of_tiles_has_the_same_interaction_at_every_order() -> None:
    # (n + 2)^2 - 2 (n + 1)^2 + n^2
    assert strength(lambda x: visible(x) ** 2) == pytest.approx([2.0] * 4, rel=1e-4)


def test_a_score_that_needs_all_tiles_interacts_at_the_highest_order_alone() -> None:
    assert strength(lambda x: (visible(x) > 15.5).float()) == [0.0, 0.0, 0.0, 1.0]


def test_a_product_of_two_tiles_interacts_whatever_else_is_seen_but_only_in_that_pair() -> None:
    found = strength(lambda x: x[:, 0, 0, 0] * x[:, 0, 0, 3], pairs=400)
    assert found == pytest.approx([1 / 120] * 4, abs=0.02)


def test_invisible_pixels_have_the_baseline() -> None:
    seen = []
    interaction_strength(
        lambda x: seen.append(x) or x.mean((1, 2, 3)), IMAGE, orders=(0,), pairs=1, contexts=1, baseline=3.0
    )
    assert sorted({float(v) for v in torch.cat(seen).unique()}) == [1.0, 3.0]


def test_an_order_without_room_for_a_pair_is_refused() -> None:
    with pytest.raises(InteractionError, match="order 15: 16 tiles leave 0 to 14 beside a pair"):
        interaction_strength(lambda x: x.sum((1, 2, 3)), IMAGE, orders=(15,))

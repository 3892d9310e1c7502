"""All-to-all attention against loops over pairs of positions."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from archfront.space.errors import ShapeError
from archfront.space.library.block.bottleneck import Bottleneck
from archfront.space.library.mixer.all_to_all import AllToAllMixer
from archfront.space.library.operator.all_to_all_attention import (
    AbsoluteLogits,
    AllToAllAttention,
    BottleneckAttention,
    RelativeLogits,
)
from archfront.space.types import Feature

X = Feature(8, (4, 5))


def test_relative_logits_equal_a_loop_over_all_pairs_of_rows_and_columns() -> None:
    torch.manual_seed(0)
    logits = RelativeLogits(3, (4, 5)).double()
    query = torch.randn(2, 2, 3, 4, 5, dtype=torch.float64)
    found = logits(query).reshape(2, 2, 4, 5, 4, 5)
    for yi in range(4):
        for xi in range(5):
            for yj in range(4):
                for xj in range(5):
                    place = logits.rows[:, 0, yj - yi + 3] + logits.columns[:, 0, xj - xi + 4]
                    expected = (query[:, :, :, yi, xi] * place).sum(-1)
                    torch.testing.assert_close(found[:, :, yi, xi, yj, xj], expected)


def test_absolute_logits_depend_on_the_place_of_the_key_alone() -> None:
    torch.manual_seed(0)
    logits = AbsoluteLogits(3, (4, 5)).double()
    query = torch.randn(1, 2, 3, 4, 5, dtype=torch.float64)
    found = logits(query).reshape(1, 2, 20, 4, 5)
    for yj in range(4):
        for xj in range(5):
            place = logits.rows[:, 0, yj] + logits.columns[:, 0, xj]
            expected = torch.einsum("nhdi,d->nhi", query.flatten(3), place)
            torch.testing.assert_close(found[..., yj, xj], expected)


@pytest.mark.parametrize("position", ["relative", "absolute", "none"])
def test_scores_are_scaled_together_and_summed_over_all_positions(position: str) -> None:
    torch.manual_seed(0)
    module = AllToAllAttention(heads=2, position=position, width=12).build(X).double().eval()
    (x,) = X.example(2, dtype=torch.float64)
    query, key, value = module.qkv(x).reshape(2, 3, 2, 6, 20).unbind(1)
    scores = torch.einsum("nhdi,nhdj->nhij", query, key)
    if position != "none":
        scores = scores + module.logits(query.unflatten(3, (4, 5)))
    weights = (scores / 6**0.5).softmax(-1)
    expected = torch.einsum("nhij,nhdj->nhdi", weights, value).reshape(2, 12, 4, 5)
    torch.testing.assert_close(module(x), expected)


def test_with_zero_tables_and_one_head_it_is_scaled_dot_product_attention() -> None:
    torch.manual_seed(0)
    module = AllToAllAttention(heads=1).build(X).double().eval()
    torch.nn.init.zeros_(module.logits.rows)
    torch.nn.init.zeros_(module.logits.columns)
    (x,) = X.example(2, dtype=torch.float64)
    parts = module.qkv(x).flatten(2).transpose(1, 2).chunk(3, -1)
    expected = F.scaled_dot_product_attention(*parts).transpose(1, 2).reshape(x.shape)
    torch.testing.assert_close(module(x), expected)


@pytest.mark.parametrize("size", [(4, 6), (5, 3)])
def test_a_stride_averages_tiles_behind_the_attention(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    x = Feature(8, size)
    strided = AllToAllAttention(stride=2).build(x).eval()
    plain = BottleneckAttention(8, 8, 4, size).eval()
    plain.load_state_dict(strided.state_dict())
    (images,) = x.example(2)
    expected = F.avg_pool2d(plain(images), 2, 2, ceil_mode=True, count_include_pad=False)
    torch.testing.assert_close(strided(images), expected)


def test_there_is_no_projection_behind_the_heads() -> None:
    module = AllToAllAttention(heads=4, position="none").build(Feature(64, (4, 4)))
    assert sum(p.numel() for p in module.parameters()) == 3 * 64 * 64


def test_heads_must_divide_the_inner_width_of_the_bottleneck() -> None:
    with pytest.raises(ShapeError, match="operator: 3 heads do not divide 16 channels; use 1, 2, 4, 8 or 16"):
        Bottleneck(operator=AllToAllAttention(heads=3)).output(Feature(64, (8, 8)))


def test_as_a_mixer_it_is_the_operator_at_its_own_width() -> None:
    operator, mixer = AllToAllAttention(heads=2).build(X).eval(), AllToAllMixer(heads=2).build(X).eval()
    mixer.load_state_dict(operator.state_dict())
    (x,) = X.example(2)
    assert torch.equal(mixer(x), operator(x))

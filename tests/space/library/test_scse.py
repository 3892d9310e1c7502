"""Concurrent squeeze-and-excitation against its formulas."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor, nn

from archfront.hw_profiles.cost import part_cost
from archfront.space.errors import ShapeError
from archfront.space.library.gate.scse import SCSE
from archfront.space.types import Feature

SIZES = [(9,), (7, 5), (3, 4, 5)]


def built(size: tuple[int, ...], **options: object) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    x_type = Feature(12, size)
    return SCSE(**options).build(x_type).double().eval(), x_type.example(2, dtype=torch.float64)[0]


def by_channel(gate: nn.Module, x: Tensor) -> Tensor:
    z = x.flatten(2).mean(-1)
    hidden = torch.relu(z @ gate.reduce.weight.T + gate.reduce.bias)
    weights = torch.sigmoid(hidden @ gate.expand.weight.T + gate.expand.bias)
    return x * weights[(...,) + (None,) * (x.ndim - 2)]


def by_position(gate: nn.Module, x: Tensor) -> Tensor:
    scores = torch.einsum("c,nc...->n...", gate.score.weight.flatten(), x) + gate.score.bias
    return x * torch.sigmoid(scores)[:, None]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("merge", ["max", "sum", "product", "concat"])
def test_both_excitations_follow_their_formulas_and_are_merged_as_asked(size: tuple[int, ...], merge: str) -> None:
    gate, x = built(size, merge=merge)
    c, s = by_channel(gate.channel, x), by_position(gate.spatial, x)
    if merge == "concat":
        w = gate.project.weight[:, :, 0]
        bias = gate.project.bias[(...,) + (None,) * len(size)]
        expected = torch.einsum("oc,nc...->no...", w[:, :12], c) + torch.einsum("oc,nc...->no...", w[:, 12:], s) + bias
    else:
        expected = {"max": torch.where(c > s, c, s), "sum": c + s, "product": c * s}[merge]
    torch.testing.assert_close(gate(x), expected)


@pytest.mark.parametrize("size", SIZES)
def test_either_excitation_stands_alone(size: tuple[int, ...]) -> None:
    for weights, formula in (("channel", by_channel), ("spatial", by_position)):
        gate, x = built(size, weights=weights)
        torch.testing.assert_close(gate(x), formula(gate, x))


def test_spatial_weights_are_one_map_between_0_and_1_and_channel_weights_are_constant_in_space() -> None:
    gate, x = built((7, 5), weights="spatial")
    ratio = gate(x) / x
    torch.testing.assert_close(ratio, ratio[:, :1].expand_as(ratio))
    assert ratio.min() > 0 and ratio.max() < 1
    gate, x = built((7, 5), weights="channel")
    ratio = gate(x) / x
    torch.testing.assert_close(ratio, ratio[:, :, :1, :1].expand_as(ratio))


def test_the_maximum_is_no_less_than_either_part_for_inputs_that_are_not_negative() -> None:
    gate, x = built((7, 5))
    x = x.abs()
    y = gate(x)
    assert (y >= by_channel(gate.channel, x) - 1e-12).all() and (y >= by_position(gate.spatial, x) - 1e-12).all()


@pytest.mark.parametrize("size", [(4, 3), (2, 3, 4)])
def test_projection_weighs_every_entry_by_the_means_over_all_other_dimensions(size: tuple[int, ...]) -> None:
    gate, x = built(size, weights="project")
    projected = torch.zeros_like(x)
    for position in itertools.product(*map(range, size)):
        for axis, index in enumerate(position):
            projected[(..., *position)] += x.select(2 + axis, index).flatten(2).mean(-1)
    hidden = torch.relu(torch.einsum("oc,nc...->no...", gate.reduce.weight[:, :, 0], projected)
                        + gate.reduce.bias[(...,) + (None,) * len(size)])  # fmt: skip
    scores = torch.einsum("oc,nc...->no...", gate.expand.weight[:, :, 0], hidden)
    scores = scores + gate.expand.bias[(...,) + (None,) * len(size)]
    torch.testing.assert_close(gate(x), x * torch.sigmoid(scores))


def test_projection_of_a_sequence_is_refused() -> None:
    with pytest.raises(ShapeError, match='use "channel'):
        SCSE(weights="project").output(Feature(8, (9,)))


@pytest.mark.parametrize("channels", [64, 128, 1024])
def test_counts_are_the_published_ones(channels: int) -> None:
    x = Feature(channels, (4, 4))
    assert part_cost(SCSE(weights="channel"), x).params == channels**2 + 3 * channels // 2
    spatial = part_cost(SCSE(weights="spatial"), x)
    assert (spatial.params, spatial.macs) == (channels + 1, channels * 16)
    both = part_cost(SCSE(), x).params
    assert both == channels**2 + 3 * channels // 2 + channels + 1
    assert part_cost(SCSE(merge="concat"), x).params == both + 2 * channels**2 + channels

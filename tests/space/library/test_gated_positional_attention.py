"""Gated positional attention against convolution, self-attention and its own definition."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from archfront.space.library.mixer.gated_positional_attention import GatedPositionalAttention, key_offsets
from archfront.space.types import Feature


def built(heads: int, size: tuple[int, int], locality: float = 1.0, gate: float = 1.0, channels: int = 36) -> nn.Module:
    torch.manual_seed(0)
    spec = GatedPositionalAttention(heads=heads, locality=locality, gate=gate)
    return spec.build(Feature(channels, size)).double()


def inputs(size: tuple[int, int], channels: int = 36) -> Tensor:
    return torch.randn(2, channels, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def projected(module: nn.Module, x: Tensor) -> Tensor:
    return torch.einsum("oc,nchw->nohw", module.project.weight[:, :, 0, 0], x) + module.project.bias[:, None, None]


def test_sharp_heads_under_an_open_gate_are_a_3x3_convolution_inside_the_map() -> None:
    module = built(9, (6, 7), locality=200.0, gate=1e9)
    x = inputs((6, 7))
    y = projected(module, torch.zeros_like(x))[:, :, 1:-1, 1:-1].clone()
    for head in range(9):
        down, right = head % 3 - 1, head // 3 - 1
        weight = module.project.weight[:, 4 * head : 4 * head + 4, 0, 0]
        shifted = x[:, 4 * head : 4 * head + 4, 1 + down : 5 + down, 1 + right : 6 + right]
        y = y + torch.einsum("oc,nchw->nohw", weight, shifted)
    torch.testing.assert_close(module(x)[:, :, 1:-1, 1:-1], y)


def test_under_a_closed_gate_it_is_self_attention() -> None:
    module = built(4, (3, 5), gate=-1e9)
    nn.init.normal_(module.value.weight, std=0.2)
    x = inputs((3, 5))
    query, key = torch.einsum("oc,ncl->nol", module.query_key.weight[:, :, 0, 0], x.flatten(2)).chunk(2, 1)
    value = torch.einsum("oc,ncl->nol", module.value.weight[:, :, 0, 0], x.flatten(2))
    heads = []
    for q, k, v in zip(*(t.chunk(4, 1) for t in (query, key, value)), strict=True):
        heads.append(v @ (q.transpose(1, 2) @ k / math.sqrt(9)).softmax(-1).transpose(1, 2))
    torch.testing.assert_close(module(x), projected(module, torch.cat(heads, 1).reshape(x.shape)))


@pytest.mark.parametrize("gate", [-2.0, 0.0, 1.0])
def test_the_weights_of_a_query_sum_to_one_and_mix_two_distributions(gate: float) -> None:
    module = built(4, (3, 4), gate=gate)
    x = inputs((3, 4))
    weights = module.weights(x)
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 4, 12, dtype=torch.float64))
    nn.init.constant_(module.gate, 1e9)
    place = module.weights(x)
    nn.init.constant_(module.gate, -1e9)
    content = module.weights(x)
    share = 1 / (1 + math.exp(-gate))
    torch.testing.assert_close(weights, (1 - share) * content + share * place)


def test_the_weight_of_an_offset_falls_with_its_distance_from_the_offset_of_the_head() -> None:
    module = built(4, (4, 4), locality=0.5, gate=1e9)
    place = module.weights(inputs((4, 4)))[0]
    for head in range(4):
        wanted = (head % 2 - 0.5, head // 2 - 0.5)
        for i in range(16):
            far = [(j // 4 - i // 4 - wanted[0]) ** 2 + (j % 4 - i % 4 - wanted[1]) ** 2 for j in range(16)]
            expected = torch.softmax(-0.5 * torch.tensor(far, dtype=torch.float64), 0)
            torch.testing.assert_close(place[head, i], expected)


def test_offsets_are_those_of_a_map_that_is_not_square() -> None:
    offsets = key_offsets((2, 3))
    assert offsets[0, 5].tolist() == [2, 1, 5]
    assert offsets[4, 0].tolist() == [-1, -1, 2]
    assert offsets[3, 2].tolist() == [2, -1, 5]


@pytest.mark.parametrize("heads", [1, 4, 6, 9])
def test_values_begin_as_the_input_and_square_numbers_of_heads_as_a_grid_of_offsets(heads: int) -> None:
    module = built(heads, (4, 4))
    x = inputs((4, 4))
    torch.testing.assert_close(module.value(x), x)
    side = math.isqrt(heads)
    centres = {tuple((row[:2] / 2).tolist()) for row in module.position.weight[: side**2]}
    steps = [n - (side - 1) / 2 for n in range(side)]
    assert centres == {(right, down) for right in steps for down in steps}
    assert (module.position.weight[: side**2, 2] == -1).all()
    assert (module.position.weight[side**2 :].abs() < 0.2).all()

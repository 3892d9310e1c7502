"""Deformable convolution against plain convolution and against its definition."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archfront.hw_profiles.cost import part_cost
from archfront.space.errors import ShapeError
from archfront.space.library.layers_sampling import sampled_taps
from archfront.space.library.operator.deform_conv import DeformConv
from archfront.space.types import Feature


def built(spec: DeformConv, x: Feature) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    return spec.build(x).double(), x.example(2, dtype=torch.float64)[0]


def plain(module: nn.Module, x: Tensor) -> Tensor:
    c = module.conv
    return F.conv2d(x, c.weight, stride=c.stride, padding=c.padding, dilation=c.dilation, groups=c.groups)


@pytest.mark.parametrize(
    "options", [{}, {"kernel": 5, "groups": 2, "offset_groups": 4}, {"stride": 2}, {"dilation": 2}]
)
@pytest.mark.parametrize("size", [(9, 7), (1, 3)])
def test_it_starts_as_half_a_convolution_and_without_modulation_as_a_whole_one(
    options: dict[str, int], size: tuple[int, int]
) -> None:
    module, x = built(DeformConv(width=16, **options), Feature(8, size))
    torch.testing.assert_close(module(x), plain(module, x) / 2)
    nn.init.constant_(module.offset.bias, 0.0)
    module.offset.bias.data[2 * len(module.offset.bias) // 3 :] = 50.0
    torch.testing.assert_close(module(x), plain(module, x))
    module, x = built(DeformConv(width=16, modulated=False, **options), Feature(8, size))
    torch.testing.assert_close(module(x), plain(module, x))


@pytest.mark.parametrize(("down", "right"), [(1, 0), (0, -2), (2, 1)])
def test_whole_offsets_shift_the_map(down: int, right: int) -> None:
    module, x = built(DeformConv(modulated=False), Feature(4, (9, 8)))
    with torch.no_grad():
        module.offset.bias.copy_(torch.tensor([down, right] * 9))
    shifted = torch.roll(x, (-down, -right), (2, 3))
    inside = (slice(None), slice(None), slice(3, 6), slice(3, 5))
    torch.testing.assert_close(module(x)[inside], plain(module, shifted)[inside])


def bilinear(plane: Tensor, row: float, column: float) -> Tensor:
    """The value of a plane between its pixels, zero outside."""
    top, left = math.floor(row), math.floor(column)
    value = torch.zeros((), dtype=plane.dtype)
    for r in (top, top + 1):
        for c in (left, left + 1):
            if 0 <= r < plane.shape[0] and 0 <= c < plane.shape[1]:
                value = value + plane[r, c] * (1 - abs(row - r)) * (1 - abs(column - c))
    return value


@pytest.mark.parametrize(("stride", "offset_groups"), [(1, 1), (2, 2)])
def test_random_offsets_match_a_loop_over_positions_and_taps(stride: int, offset_groups: int) -> None:
    module, x = built(DeformConv(width=3, stride=stride, offset_groups=offset_groups), Feature(4, (7, 7)))
    nn.init.normal_(module.offset.weight, std=0.4)
    nn.init.normal_(module.offset.bias)
    x = x[:1]
    with torch.no_grad():
        predicted, found = module.offset(x)[0], module(x)[0]
        offsets, weights = predicted[: 18 * offset_groups], predicted[18 * offset_groups :].sigmoid()
        expected, outside = torch.zeros_like(found), 0
        for i in range(found.shape[1]):
            for j in range(found.shape[2]):
                for c in range(4):
                    group = c // (4 // offset_groups)
                    for k in range(9):
                        down, right = offsets[18 * group + 2 * k : 18 * group + 2 * k + 2, i, j].tolist()
                        row, column = i * stride + k // 3 - 1 + down, j * stride + k % 3 - 1 + right
                        outside += not (0 <= row <= 6 and 0 <= column <= 6)
                        value = bilinear(x[0, c], row, column) * weights[9 * group + k, i, j]
                        expected[:, i, j] += module.conv.weight[:, c, k // 3, k % 3] * value
    assert outside > 20
    torch.testing.assert_close(found, expected)


def test_gradients_with_respect_to_offsets_are_those_of_finite_differences() -> None:
    x = Feature(4, (5, 4)).example(1, dtype=torch.float64)[0]
    offsets = (torch.rand(1, 2, 9, 2, 5, 4, dtype=torch.float64) * 0.8 + 0.1).requires_grad_()  # no kinks nearby
    assert torch.autograd.gradcheck(lambda d: sampled_taps(x, d, 3), (offsets,), eps=1e-6)


@pytest.mark.parametrize(("options", "predicted"), [({}, 27), ({"modulated": False}, 18), ({"offset_groups": 4}, 108)])
def test_costs_are_two_convolutions_and_four_multiply_adds_a_sample(options: dict[str, int], predicted: int) -> None:
    cost = part_cost(DeformConv(width=16, **options), Feature(8, (6, 5)))
    assert cost.contractions == 30 * (72 * predicted + 72 * 16)
    assert cost.macs == cost.contractions + 4 * 9 * 8 * 30
    assert cost.params == 72 * predicted + predicted + 72 * 16


def test_groups_that_do_not_divide_are_refused() -> None:
    with pytest.raises(ShapeError, match="3 offset groups do not divide 8 channels; use 1, 2, 4 or 8"):
        DeformConv(offset_groups=3).output(Feature(8, (4, 4)))

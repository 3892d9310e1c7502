"""Involution against its definition."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archfront.hw_profiles.cost import part_cost
from archfront.space.errors import ShapeError
from archfront.space.library.mixer.involution import InvolutionMixer
from archfront.space.library.operator.involution import Involution
from archfront.space.types import Feature


def built(spec: Involution | InvolutionMixer, x: Feature) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    module = spec.build(x).double().eval()
    nn.init.uniform_(module.norm.bias, -0.5, 0.5)
    return module, x.example(2, dtype=torch.float64)[0]


def summed(module: nn.Module, x: Tensor, weights: Tensor, kernel: int, stride: int, groups: int) -> Tensor:
    """The weighted sums, position by position and neighbour by neighbour."""
    size, share = x.shape[2:], x.shape[1] // groups
    y = torch.zeros(x.shape[0], x.shape[1], *weights.shape[2:], dtype=x.dtype)
    for c in range(x.shape[1]):
        for i in range(weights.shape[2]):
            for j in range(weights.shape[3]):
                for u in range(kernel):
                    for v in range(kernel):
                        row, column = i * stride + u - kernel // 2, j * stride + v - kernel // 2
                        if 0 <= row < size[0] and 0 <= column < size[1]:
                            weight = weights[:, c // share * kernel**2 + u * kernel + v, i, j]
                            y[:, c, i, j] += weight * x[:, c, row, column]
    return y


@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (7, 1), (3, 2), (7, 2)])
def test_every_position_sums_its_neighbours_with_weights_of_its_own(kernel: int, stride: int) -> None:
    x_type = Feature(32, (7, 7))
    module, x = built(Involution(kernel=kernel, stride=stride), x_type)
    seen = x
    if stride == 2:  # tiles of 2x2, cut off at the border
        tiles = [[x[:, :, r : r + 2, c : c + 2].mean((2, 3)) for c in range(0, 7, 2)] for r in range(0, 7, 2)]
        seen = torch.stack([torch.stack(row, -1) for row in tiles], -2)
    reduced = F.conv2d(seen, module.reduce.weight) / (1 + module.norm.eps) ** 0.5
    hidden = torch.relu(reduced + module.norm.bias[:, None, None])
    weights = F.conv2d(hidden, module.generate.weight, module.generate.bias)
    assert weights.shape[1] == 2 * kernel**2
    torch.testing.assert_close(module(x), summed(module, x, weights, kernel, stride, 2))


def test_with_constant_weights_it_is_a_depthwise_convolution_with_one_kernel_a_group() -> None:
    module, x = built(Involution(kernel=5), Feature(32, (9, 6)))
    nn.init.zeros_(module.generate.weight)
    kernels = module.generate.bias.reshape(2, 1, 5, 5).repeat_interleave(16, 0)
    torch.testing.assert_close(module(x), F.conv2d(x, kernels, padding=2, groups=32))


def test_with_weights_from_similarities_it_is_local_self_attention() -> None:
    module, x = built(InvolutionMixer(kernel=3, group_channels=8), Feature(8, (5, 4)))
    padded = F.unfold(x, 3, padding=1).reshape(2, 8, 9, 20)
    inside = F.unfold(torch.ones_like(x[:, :1]), 3, padding=1).bool()
    scores = torch.einsum("ncp,nckp->nkp", x.flatten(2), padded).masked_fill(~inside, float("-inf"))
    attention = scores.softmax(1)
    expected = torch.einsum("nkp,nckp->ncp", attention, padded).reshape_as(x)
    torch.testing.assert_close(module.aggregate(x, attention.reshape(2, 9, 5, 4)), expected)


@pytest.mark.parametrize(("channels", "kernel"), [(32, 3), (64, 7)])
def test_counts_follow_the_formula(channels: int, kernel: int) -> None:
    x, hidden, weights = Feature(channels, (6, 5)), channels // 4, channels // 16 * kernel**2
    cost = part_cost(Involution(kernel=kernel), x)
    assert cost.params == channels * hidden + 2 * hidden + hidden * weights + weights
    assert cost.contractions == 30 * (channels * hidden + hidden * weights)


def test_a_narrow_map_is_one_group_and_other_widths_must_be_divided() -> None:
    module, _ = built(Involution(), Feature(8, (5, 5)))
    assert module.groups == 1
    with pytest.raises(ShapeError, match="groups of 16 channels do not divide 24; use 1, 2, 3, 4, 6, 8, 12 or 24"):
        Involution().output(Feature(24, (5, 5)))
    with pytest.raises(ShapeError, match="keeps the width, 32; use"):
        Involution(width=64).output(Feature(32, (5, 5)))

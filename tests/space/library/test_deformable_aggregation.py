"""Sums over moved taps against their definition."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archfront.space.errors import ShapeError
from archfront.space.library.mixer.deformable_aggregation import DeformableAggregation
from archfront.space.types import Feature

X = Feature(8, (6, 5))


def built(**options: object) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    module = DeformableAggregation(head_dim=4, **options).build(X).double()
    return module, X.example(2, dtype=torch.float64)[0]


def test_at_first_it_averages_the_values_under_the_kernel() -> None:
    module, x = built()
    mean = F.avg_pool2d(module.value(x), 3, stride=1, padding=1)
    torch.testing.assert_close(module(x), module.project(mean))


def test_every_group_adds_up_its_values_at_moved_taps_with_weights_that_sum_to_one() -> None:
    module, x = built()
    nn.init.normal_(module.score.weight)
    nn.init.constant_(module.offset.bias, 0.0)
    whole = torch.randint(-1, 2, (2, 9, 2)).double()  # whole pixels: no interpolation
    with torch.no_grad():
        module.offset.bias.copy_(whole.flatten())
    query = F.gelu(module.norm(module.depthwise(x)))
    weights = module.score(query).unflatten(1, (2, 9)).softmax(2)
    values = F.pad(module.value(x), (4, 4, 4, 4))
    expected = torch.zeros_like(x)
    for group in range(2):
        for tap in range(9):
            down, right = (int(n) for n in whole[group, tap])
            row, column = 4 + tap // 3 - 1 + down, 4 + tap % 3 - 1 + right
            shifted = values[:, 4 * group : 4 * group + 4, row : row + 6, column : column + 5]
            expected[:, 4 * group : 4 * group + 4] += weights[:, group, tap, None] * shifted
    torch.testing.assert_close(module(x), module.project(expected))


def test_groups_must_divide_the_width() -> None:
    with pytest.raises(ShapeError, match="head_dim 3 does not divide 8 channels"):
        DeformableAggregation(head_dim=3).output(X)

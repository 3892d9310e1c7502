"""Iterative deep aggregation against its definition and against interpolation."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from archfront.space.errors import ShapeError
from archfront.space.library.topology.iterative_aggregation import BilinearUpsample, IterativeAggregation
from archfront.space.types import Feature, Pyramid

LEVELS = Pyramid((Feature(4, (13, 9)), Feature(6, (7, 5)), Feature(6, (4, 3)), Feature(10, (2, 2))))


def test_enlarging_is_bilinear_interpolation_at_first_but_for_the_border() -> None:
    x = torch.randn(2, 3, 7, 5, dtype=torch.float64)
    found = BilinearUpsample(3).double()(x)
    expected = F.interpolate(x, scale_factor=2, mode="bilinear")
    torch.testing.assert_close(found[:, :, 1:-1, 1:-1], expected[:, :, 1:-1, 1:-1])


def test_every_step_merges_the_level_behind_and_all_results_of_the_step_before() -> None:
    torch.manual_seed(0)
    module = IterativeAggregation().build(LEVELS).double().eval()
    x1, x2, x3, x4 = (torch.randn(2, level.channels, *level.size, dtype=torch.float64) for level in LEVELS.levels)

    def merge(step: int, node: int, x: Tensor, y: Tensor) -> Tensor:
        own = module.steps[step]
        raised = own.enlarge[node](own.project[node](y))[:, :, : x.shape[2], : x.shape[3]]
        return own.nodes[node](torch.cat((x, raised), 1))

    a = merge(0, 0, x3, x4)
    b = merge(1, 0, x2, x3)
    c = merge(1, 1, b, a)
    d = merge(2, 0, x1, x2)
    e = merge(2, 1, d, b)
    torch.testing.assert_close(module((x1, x2, x3, x4)), (merge(2, 2, e, c),))
    assert IterativeAggregation().output(LEVELS) == Pyramid(LEVELS.levels[:1])


def test_levels_that_do_not_halve_are_refused() -> None:
    with pytest.raises(ShapeError, match="takes levels that halve"):
        IterativeAggregation().output(Pyramid((Feature(4, (8, 8)), Feature(4, (3, 4)))))

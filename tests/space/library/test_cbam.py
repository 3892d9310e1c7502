"""CBAM in other dimensions and with one factor, against its formula."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from archfront.space.errors import ShapeError
from archfront.space.library.gate.cbam import CBAM
from archfront.space.types import Feature


def channel_factor(gate: torch.nn.Module, x: Tensor) -> Tensor:
    mlp = gate.channel

    def score(z: Tensor) -> Tensor:
        return torch.relu(z @ mlp.reduce.weight.T + mlp.reduce.bias) @ mlp.expand.weight.T + mlp.expand.bias

    weights = torch.sigmoid(score(x.flatten(2).mean(-1)) + score(x.flatten(2).max(-1).values))
    return weights[(...,) + (None,) * (x.ndim - 2)]


def spatial_factor(gate: torch.nn.Module, x: Tensor) -> Tensor:
    conv = {3: F.conv1d, 4: F.conv2d, 5: F.conv3d}[x.ndim]
    summary = torch.stack((x.max(1).values, x.mean(1)), 1)
    scores = conv(summary, gate.spatial.conv.weight, padding=gate.spatial.conv.weight.shape[-1] // 2)
    return torch.sigmoid(scores / (1 + gate.spatial.norm.eps) ** 0.5)


@pytest.mark.parametrize("size", [(9,), (7, 5), (3, 4, 5)])
@pytest.mark.parametrize(("ratio", "kernel"), [(0.25, 3), (None, 3), (0.25, None)])
def test_cbam_follows_its_formula_in_one_to_three_dimensions_with_either_factor(
    size: tuple[int, ...], ratio: float | None, kernel: int | None
) -> None:
    torch.manual_seed(0)
    x_type = Feature(32, size)
    gate = CBAM(ratio=ratio, kernel=kernel).build(x_type).double().eval()
    (x,) = x_type.example(2, dtype=torch.float64)
    expected = x
    if ratio is not None:
        expected = expected * channel_factor(gate, expected)
    if kernel is not None:
        expected = expected * spatial_factor(gate, expected)
    torch.testing.assert_close(gate(x), expected)
    params = (2 * 32 * 8 + 8 + 32 if ratio else 0) + (2 * 3 ** len(size) + 2 if kernel else 0)
    assert sum(p.numel() for p in gate.parameters()) == params


@pytest.mark.parametrize("pools", ["average", "max"])
def test_cbam_can_summarise_by_mean_or_maximum_alone(pools: str) -> None:
    gate = CBAM(ratio=0.25, kernel=None, pools=pools).build(Feature(32, (7, 5))).double()
    x = torch.randn(2, 32, 7, 5, dtype=torch.float64)
    summary = x.flatten(2).mean(-1) if pools == "average" else x.flatten(2).max(-1).values
    mlp = gate.channel
    scores = torch.relu(summary @ mlp.reduce.weight.T + mlp.reduce.bias) @ mlp.expand.weight.T + mlp.expand.bias
    torch.testing.assert_close(gate(x), x * torch.sigmoid(scores)[:, :, None, None])


def test_cbam_without_any_factor_is_refused() -> None:
    with pytest.raises(ShapeError, match="has no factor; use ratio"):
        CBAM(ratio=None, kernel=None).output(Feature(8, (4, 4)))

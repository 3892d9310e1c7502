"""EMOv2: attention inside an inverted residual."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archfront.space.errors import ShapeError
from archfront.space.library.block.inverted_mobile import AttentiveExpansion, InvertedMobile
from archfront.space.library.layers_partition import Partition
from archfront.space.types import Feature

EPS = (1 + 1e-5) ** 0.5


def prepared(spec: InvertedMobile, x: Feature) -> tuple[Any, Tensor]:
    torch.manual_seed(0)
    return spec.build(x).double().eval(), x.example(2, dtype=torch.float64)[0]


def test_with_a_convolution_the_block_is_an_inverted_residual_with_a_shortcut_around_the_depthwise_kernel() -> None:
    x = Feature(6, (5, 4))
    block, image = prepared(InvertedMobile(operator="conv", expand=2.0, norm="batch", activation="silu"), x)
    hidden = F.silu(F.conv2d(image / EPS, block.expand.conv.weight, block.expand.conv.bias))
    local = F.silu(F.conv2d(hidden, block.local.conv.weight, padding=2, groups=12) / EPS)
    branch = F.conv2d(hidden + local, block.project.weight)
    torch.testing.assert_close(block(image), image + 1e-6 * branch)


@pytest.mark.parametrize(("operator", "grid"), [("near", False), ("remote", True)])
@pytest.mark.parametrize("size", [(4, 6), (5, 3)])
def test_values_of_the_expanded_width_are_mixed_inside_the_groups(
    operator: Any, grid: bool, size: tuple[int, int]
) -> None:
    """Groups, heads and positions by loops; positions outside the map take no part."""
    spec = InvertedMobile(operator=operator, window=2, head_dim=4, expand=3.0)
    block, image = prepared(spec, Feature(8, size))
    module = block.expand
    query, key = F.conv2d(image, module.qk.weight, module.qk.bias).chunk(2, 1)
    value = F.gelu(F.conv2d(image, module.value.weight, module.value.bias))
    tiles = [-(-n // 2) for n in size]

    def group(i: int, j: int) -> tuple[int, int]:
        return (i % tiles[0], j % tiles[1]) if grid else (i // 2, j // 2)

    places = [(i, j) for i in range(size[0]) for j in range(size[1])]
    expected = torch.zeros_like(value)
    for head in range(2):
        q, k, v = query[:, 4 * head :][:, :4], key[:, 4 * head :][:, :4], value[:, 12 * head :][:, :12]
        for i, j in places:
            members = [(a, b) for a, b in places if group(a, b) == group(i, j)]
            scores = torch.stack([(q[:, :, i, j] * k[:, :, a, b]).sum(1) / math.sqrt(4) for a, b in members], 1)
            mixed = sum(s[:, None] * v[:, :, a, b] for s, (a, b) in zip(scores.softmax(1).T, members, strict=True))
            expected[:, 12 * head : 12 * head + 12, i, j] = mixed
    torch.testing.assert_close(module(image), expected)


def test_near_and_remote_on_a_map_of_one_window_are_the_same_attention_twice() -> None:
    torch.manual_seed(0)
    both = AttentiveExpansion(8, 16, 2, (Partition((4, 4), 4), Partition((4, 4), 4, grid=True))).double()
    one = AttentiveExpansion(8, 16, 2, (Partition((4, 4), 4),)).double()
    one.load_state_dict(both.state_dict())
    x = torch.randn(2, 8, 4, 4, dtype=torch.float64)
    torch.testing.assert_close(both(x), 2 * one(x))


def test_near_remote_and_hybrid_have_the_same_parameters() -> None:
    x = Feature(16, (8, 8))
    shapes = [
        {name: p.shape for name, p in InvertedMobile(operator=op).build(x).named_parameters()}  # type: ignore[arg-type]
        for op in ("near", "remote", "hybrid")
    ]
    assert shapes[0] == shapes[1] == shapes[2]


def test_a_block_that_changes_its_type_expands_twice_as_far_by_a_convolution() -> None:
    block = InvertedMobile(expand=3.0, width=24, stride=2).build(Feature(16, (8, 8)))
    assert not any(isinstance(m, AttentiveExpansion) for m in block.modules())
    assert block.expand.conv.out_channels == 2 * 3 * 16
    assert bool((block.scale.scale == 1).all())


def test_every_parameter_learns_once_layer_scale_is_1() -> None:
    block = InvertedMobile(layer_scale=1.0).build(Feature(16, (6, 6)))
    y = block(torch.randn(2, 16, 6, 6))
    (y * torch.randn_like(y)).sum().backward()
    assert all(p.grad is not None and float(p.grad.abs().max()) > 1e-6 for p in block.parameters())


def test_heads_that_do_not_divide_the_expanded_channels_are_refused() -> None:
    with pytest.raises(ShapeError, match="use"):
        InvertedMobile(expand=1.3, head_dim=4).output(Feature(16, (4, 4)))
    assert isinstance(InvertedMobile(operator="conv", expand=1.3).build(Feature(16, (4, 4))), nn.Module)

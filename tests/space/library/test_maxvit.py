"""MaxViT: attention in windows and grids, position bias, the block."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from archfront.space.library.block.maxvit import MaxViT
from archfront.space.library.block.prenorm_mbconv import PreNormMBConv
from archfront.space.library.gate.squeeze_excite import SqueezeExcite
from archfront.space.library.layers_partition import Partition
from archfront.space.library.mixer.partition_attention import OffsetMLP, PartitionAttention
from archfront.space.library.mixer.self_attention import SelfAttention
from archfront.space.types import Feature


def prepared(spec: Any, x: Feature) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    return spec.build(x).double().eval(), x.example(2, dtype=torch.float64)[0]


def attended(module: nn.Module, x: Tensor, groups: list[list[tuple[int, int]]], cell: tuple[int, int]) -> Tensor:
    """Attention by loops: `groups` list the positions that see each other, `cell` the distance that one offset means."""
    n, channels = x.shape[:2]
    weight, bias = module.qkv.weight.flatten(1), module.qkv.bias
    qkv = torch.einsum("oc,nchw->nohw", weight, x) + bias[:, None, None]
    dim = channels // module.heads
    mixed = torch.zeros_like(x)
    table = module.position.table if hasattr(module.position, "table") else None
    for image in range(n):
        for head in range(module.heads):
            q, k, v = (qkv[image, part * channels + head * dim :][:dim] for part in range(3))
            for group in groups:
                for i, j in group:
                    scores = []
                    for a, b in group:
                        score = q[:, i, j] @ k[:, a, b] / math.sqrt(dim)
                        if table is not None:
                            centre = table.shape[-1] // 2
                            score = score + table[head, 0, centre + (a - i) // cell[0], centre + (b - j) // cell[1]]
                        scores.append(score)
                    shares = torch.stack(scores).softmax(0)
                    mixed[image, head * dim : (head + 1) * dim, i, j] = sum(
                        share * v[:, a, b] for share, (a, b) in zip(shares, group, strict=True)
                    )
    projection = torch.einsum("oc,nchw->nohw", module.project.weight.flatten(1), mixed)
    return projection + module.project.bias[:, None, None]


def grids(size: tuple[int, int], extent: int) -> tuple[list[list[tuple[int, int]]], tuple[int, int]]:
    """Positions at one offset inside tiles of a map cut into `extent` x `extent` tiles."""
    down, right = (-(-n // extent) for n in size)
    groups = [
        [(a, b) for a in range(i, size[0], down) for b in range(j, size[1], right)]
        for i in range(down)
        for j in range(right)
    ]
    return [group for group in groups if group], (down, right)


def windows(size: tuple[int, int], extent: int) -> tuple[list[list[tuple[int, int]]], tuple[int, int]]:
    groups = [
        [(a, b) for a in range(i, min(i + extent, size[0])) for b in range(j, min(j + extent, size[1]))]
        for i in range(0, size[0], extent)
        for j in range(0, size[1], extent)
    ]
    return groups, (1, 1)


@pytest.mark.parametrize("position", ["table", "none"])
@pytest.mark.parametrize(("size", "extent"), [((8, 8), 4), ((6, 4), 2), ((5, 7), 3)])
@pytest.mark.parametrize("partition", ["window", "grid"])
def test_attention_is_that_of_a_loop_over_the_groups(
    partition: Any, size: tuple[int, int], extent: int, position: Any
) -> None:
    spec = PartitionAttention(partition=partition, extent=extent, head_dim=4, position=position)
    module, x = prepared(spec, Feature(8, size))
    groups, cell = (grids if partition == "grid" else windows)(size, extent)
    with torch.no_grad():
        torch.testing.assert_close(module(x), attended(module, x, groups, cell))


@pytest.mark.parametrize("grid", [False, True])
@pytest.mark.parametrize("size", [(8, 8), (5, 7), (3, 9)])
def test_splitting_and_merging_gives_the_map_back(size: tuple[int, int], grid: bool) -> None:
    x = torch.randn(2, 3, *size)
    partition = Partition(size, 4, grid)
    assert torch.equal(partition.merge(partition.split(x)), x)


@pytest.mark.parametrize("partition", ["window", "grid"])
def test_one_group_over_the_whole_map_is_full_self_attention(partition: Any) -> None:
    x = Feature(8, (6, 6))
    module, image = prepared(PartitionAttention(partition=partition, extent=6, head_dim=4, position="none"), x)
    full = SelfAttention(head_dim=4).build(x).double()
    full.load_state_dict({k: v for k, v in module.state_dict().items() if k.startswith(("qkv", "project"))})
    torch.testing.assert_close(module(image), full(image))


def reached(spec: MaxViT) -> float:
    """The share of the map from which the first position of the output gets a gradient."""
    module, _ = prepared(spec, Feature(8, (8, 8)))
    x = torch.randn(1, 8, 8, 8, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(module(x)[0, :, 0, 0].square().sum(), x)
    return float((gradient.abs().sum((0, 1)) > 0).double().mean())


def test_a_window_and_then_a_grid_reach_the_whole_map_and_either_alone_does_not() -> None:
    window, grid = (PartitionAttention(partition=kind, extent=4, head_dim=4) for kind in ("window", "grid"))  # type: ignore[arg-type]
    local = PreNormMBConv(gate=None, kernel=1)
    assert reached(MaxViT(convolution=local, mixers=(window, grid))) == 1.0
    assert reached(MaxViT(convolution=local, mixers=(grid, window))) == 1.0
    assert (
        reached(MaxViT(convolution=local, mixers=(window,)))
        == reached(MaxViT(convolution=local, mixers=(grid,)))
        == 0.25
    )


def test_the_position_bias_of_the_perceptron_does_not_depend_on_the_extent() -> None:
    small, large = OffsetMLP(2, 3), OffsetMLP(2, 5)
    large.load_state_dict(small.state_dict())
    wide = large().unflatten(3, (5, 5)).unflatten(2, (5, 5))[:, :, :3, :3, :3, :3]
    torch.testing.assert_close(small(), wide.flatten(4, 5).flatten(2, 3))


def test_the_convolution_is_the_pre_activation_block_of_the_paper() -> None:
    x = Feature(4, (6, 5))
    module, image = prepared(PreNormMBConv(width=6, stride=2), x)
    eps = (1 + 1e-5) ** 0.5
    conv = nn.functional.conv2d
    hidden = nn.functional.gelu(conv(image / eps, module.expand.conv.weight) / eps)
    assert hidden.shape[1] == 24
    hidden = nn.functional.gelu(conv(hidden, module.depthwise.conv.weight, stride=2, padding=1, groups=24) / eps)
    branch = conv(module.gate(hidden), module.project.weight, module.project.bias)
    pooled = nn.functional.avg_pool2d(image, 2, ceil_mode=True, count_include_pad=False)
    shortcut = conv(pooled, module.shortcut.project.weight, module.shortcut.project.bias)
    torch.testing.assert_close(module(image), shortcut + branch)


def test_the_gate_has_a_quarter_of_the_output_width_inside() -> None:
    spec = PreNormMBConv(width=32)
    assert isinstance(spec.gate, SqueezeExcite)
    assert spec.build(Feature(16, (4, 4))).gate.reduce.out_features == 32 // 4

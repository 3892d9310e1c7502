"""Three cheap convolutional layers against their definitions."""

from __future__ import annotations

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archfront.hw_profiles.cost import part_cost
from archfront.space.library.operator.single_intra_channel import SingleIntraChannel
from archfront.space.library.operator.spatial_bottleneck import SpatialBottleneck
from archfront.space.library.operator.topological import TopologicalConv, reach, torus
from archfront.space.spec import Operator
from archfront.space.types import Feature


def built(spec: Operator, x: Feature) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    return spec.build(x).double().eval(), x.example(2, dtype=torch.float64)[0]


# --------------------------------------------------------------------------- topological subdivisioning


@pytest.mark.parametrize(
    ("channels", "dims", "grid", "fraction", "window"),
    [
        (128, 2, (8, 16), 0.25, (4, 8)),
        (128, 3, (4, 4, 8), 0.125, (2, 2, 4)),
        (64, 1, (64,), 0.5, (32,)),
        (256, 4, (4, 4, 4, 4), 1.0, (4, 4, 4, 4)),
        (7, 2, (1, 7), 0.25, (1, 4)),
    ],
)
def test_channels_lie_on_a_torus_and_see_the_fraction_asked_for(
    channels: int, dims: int, grid: tuple[int, ...], fraction: float, window: tuple[int, ...]
) -> None:
    assert torus(channels, dims) == grid
    assert reach(grid, fraction) == window


@pytest.mark.parametrize("execute", ["gather", "dense"])
@pytest.mark.parametrize(("grid", "window"), [((4, 6), (2, 3)), ((2, 3, 4), (1, 2, 2))])
def test_each_channel_is_connected_to_the_window_around_it(
    grid: tuple[int, ...], window: tuple[int, ...], execute: str
) -> None:
    fraction = {2: 0.25, 3: 0.2}[len(grid)]
    spec = TopologicalConv(dims=len(grid), fraction=fraction, execute=execute)
    assert (torus(24, len(grid)), reach(grid, fraction)) == (grid, window)
    module, x = built(spec, Feature(24, (5, 4)))
    places = list(itertools.product(*map(range, grid)))
    expected = torch.zeros_like(x)
    for j, place in enumerate(places):
        shifts = itertools.product(*(range(-(n // 2), n - n // 2) for n in window))
        for t, shift in enumerate(shifts):
            near = tuple((p + s) % n for p, s, n in zip(place, shift, grid, strict=True))
            expected[:, j] += module.weight[j, t] * x[:, places.index(near)]
    torch.testing.assert_close(module(x), expected)


def test_gathering_and_masking_agree_and_only_gathering_costs_less() -> None:
    x = Feature(128, (5, 4))
    gather, images = built(TopologicalConv(execute="gather"), x)
    dense, _ = built(TopologicalConv(execute="dense"), x)
    dense.load_state_dict(gather.state_dict())
    torch.testing.assert_close(gather(images), dense(images), atol=1e-12, rtol=0)
    costs = {execute: part_cost(TopologicalConv(execute=execute), x) for execute in ("gather", "dense")}
    assert costs["gather"].contractions * 128 == costs["dense"].contractions * 4 * 8
    assert costs["dense"].contractions == 128 * 128 * 20
    assert costs["gather"].params == costs["dense"].params == 128 * 4 * 8


def test_a_window_as_large_as_the_torus_is_a_dense_1x1_convolution_with_permuted_weights() -> None:
    module, x = built(TopologicalConv(fraction=1.0), Feature(24, (5, 4)))
    weight = torch.zeros(24, 24, dtype=torch.float64)
    for j in range(24):
        assert sorted(module.index[j].tolist()) == list(range(24))
        weight[j, module.index[j]] = module.weight[j].detach()
    torch.testing.assert_close(module(x), F.conv2d(x, weight[:, :, None, None]))


def test_other_widths_and_strides_spread_the_windows() -> None:
    for width in (6, 48):
        module, x = built(TopologicalConv(width=width, stride=2), Feature(24, (5, 4)))
        assert module(x).shape == (2, width, 3, 2)
        assert module.index.unique().numel() == 24


# --------------------------------------------------------------------------- single intra-channel convolution


@pytest.mark.parametrize("residual", [True, False])
def test_a_layer_is_a_depthwise_convolution_with_a_shortcut_and_a_projection(residual: bool) -> None:
    module, x = built(SingleIntraChannel(width=12, kernel=5, residual=residual), Feature(8, (7, 5)))
    layer = module[0]
    z = F.conv2d(x, layer.depthwise.weight, padding=2, groups=8) + (x if residual else 0)
    torch.testing.assert_close(module(x), F.conv2d(z, layer.project.weight))
    assert sum(p.numel() for p in module.parameters()) == 25 * 8 + 8 * 12


def test_repeated_layers_are_normalised_and_rectified_in_between() -> None:
    module, x = built(SingleIntraChannel(width=12, stride=2, repeats=2), Feature(8, (7, 5)))
    first, second = module
    y = F.conv2d(F.conv2d(x, first.depthwise.weight, stride=2, padding=1, groups=8), first.project.weight)
    y = torch.relu(y / (1 + first.norm.eps) ** 0.5)
    y = F.conv2d(y + F.conv2d(y, second.depthwise.weight, padding=1, groups=12), second.project.weight)
    torch.testing.assert_close(module(x), y)


def test_the_projection_may_be_topological() -> None:
    x = Feature(128, (6, 4))
    dense = part_cost(SingleIntraChannel(), x)
    sparse = part_cost(SingleIntraChannel(dims=2, fraction=0.25, execute="gather"), x)
    assert part_cost(SingleIntraChannel(dims=2, fraction=0.25), x).contractions == dense.contractions
    assert dense.contractions - sparse.contractions == 24 * 128 * 128 * 3 // 4
    assert dense.params - sparse.params == 128 * 128 * 3 // 4


# --------------------------------------------------------------------------- spatial bottleneck


@pytest.mark.parametrize(("reduction", "kernel"), [(1, 3), (2, 3), (3, 5)])
@pytest.mark.parametrize("size", [(12, 6), (7, 5)])
def test_the_projection_works_at_the_reduced_size_and_the_size_is_restored(
    reduction: int, kernel: int, size: tuple[int, int]
) -> None:
    module, x = built(SpatialBottleneck(reduction=reduction, kernel=kernel), Feature(8, size))
    small = F.conv2d(x, module.down.weight, stride=reduction, padding=kernel // 2, groups=8)
    small = F.conv2d(small, module.project.weight)
    assert small.shape[2:] == tuple(-(-n // reduction) for n in size)
    expected = x.clone()
    for i in range(small.shape[2]):  # every position paints the kernel around its own place
        for j in range(small.shape[3]):
            for u in range(kernel):
                for v in range(kernel):
                    row, column = i * reduction + u - kernel // 2, j * reduction + v - kernel // 2
                    if 0 <= row < size[0] and 0 <= column < size[1]:
                        expected[:, :, row, column] += small[:, :, i, j] * module.up.weight[:, 0, u, v]
    torch.testing.assert_close(module(x), expected)


def test_the_projection_costs_the_square_of_the_reduction_less() -> None:
    x = Feature(64, (12, 12))
    full, half = (part_cost(SpatialBottleneck(reduction=n), x) for n in (1, 2))
    assert full.contractions == 144 * (9 * 64 + 64 * 64 + 9 * 64)
    assert half.contractions == 36 * (9 * 64 + 64 * 64 + 9 * 64)
    assert full.params == half.params == 64 * 64 + 2 * 9 * 64

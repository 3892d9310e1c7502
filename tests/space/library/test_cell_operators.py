"""The operators of search cells, each against its definition."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archfront.space.errors import ShapeError
from archfront.space.library.operator.asymmetric import AsymmetricConv
from archfront.space.library.operator.conv import Conv
from archfront.space.library.operator.factorised_reduction import FactorisedReduction
from archfront.space.library.operator.pool import Pool
from archfront.space.library.operator.preactivated import Preactivated
from archfront.space.library.operator.skip import Skip
from archfront.space.library.operator.stacked_separable import StackedSeparable
from archfront.space.spec import Operator
from archfront.space.types import Feature

OPERATORS: list[Operator] = [
    Skip(),
    Pool(),
    Pool(mode="max", kernel=7),
    StackedSeparable(kernel=5),
    Preactivated(operator=Conv(kernel=3, dilation=2)),
    AsymmetricConv(),
    FactorisedReduction(),
]


def made(operator: Operator, x: Feature, width: int | None = None, stride: int = 1) -> nn.Module:
    """The module of an operator in float64, its norms with statistics of their own."""
    torch.manual_seed(0)
    module = operator.at(width, stride).build(x)
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            nn.init.uniform_(norm.running_mean, -1, 1)
    return module.double().eval()


def norm(layer: nn.Module, x: Tensor) -> Tensor:
    assert isinstance(layer, nn.BatchNorm2d)
    scale = layer.weight / (layer.running_var + layer.eps).sqrt()  # type: ignore[operator]
    return (x - layer.running_mean[:, None, None]) * scale[:, None, None] + layer.bias[:, None, None]  # type: ignore[index]


@pytest.mark.parametrize("operator", OPERATORS, ids=repr)
@pytest.mark.parametrize(("size", "stride"), [((8, 6), 1), ((8, 6), 2), ((7, 5), 2), ((2, 1), 2)])
def test_sizes_are_divided_by_the_stride_and_rounded_up(operator: Operator, size: tuple[int, int], stride: int) -> None:
    x = Feature(4, size)
    for width in (4, 6):
        y = operator.at(width, stride).output(x)
        assert y == Feature(width, tuple(-(-n // stride) for n in size))
        assert made(operator, x, width, stride)(torch.randn(2, 4, *size).double()).shape == (2, width, *y.size)


@pytest.mark.parametrize("stride", [1, 2])
def test_a_separable_convolution_of_a_cell_is_applied_twice(stride: int) -> None:
    module = made(StackedSeparable(kernel=5), Feature(4, (8, 6)), 6, stride)
    x = y = torch.randn(2, 4, 8, 6, dtype=torch.float64)
    assert isinstance(module, nn.Sequential)
    assert len(module) == 2
    for layer, step in zip(module, (stride, 1), strict=True):
        depthwise, pointwise = layer.operator.spatial.weight, layer.operator.pointwise.weight
        y = F.conv2d(F.relu(y), depthwise, stride=step, padding=2, groups=depthwise.shape[0])
        y = norm(layer.norm, F.conv2d(y, pointwise))
    torch.testing.assert_close(module(x), y)
    assert sum(p.numel() for p in module.parameters()) == 4 * 25 + 4 * 6 + 12 + 6 * 25 + 6 * 6 + 12


def test_an_asymmetric_convolution_is_a_row_then_a_column() -> None:
    module = made(AsymmetricConv(kernel=7), Feature(4, (9, 8)), 6, 2)
    x = torch.randn(2, 4, 9, 8, dtype=torch.float64)
    y = F.conv2d(x, module.row.weight, stride=(1, 2), padding=(0, 3))  # type: ignore[union-attr, arg-type]
    y = F.conv2d(F.relu(norm(module.norm, y)), module.column.weight, stride=(2, 1), padding=(3, 0))  # type: ignore[union-attr, arg-type]
    torch.testing.assert_close(module(x), y)


@pytest.mark.parametrize("size", [(8, 6), (7, 5)])
def test_a_factorised_reduction_reads_every_second_position_and_those_between(size: tuple[int, int]) -> None:
    module = made(FactorisedReduction(), Feature(4, size), 5, 2)
    x = torch.randn(1, 4, *size, dtype=torch.float64)
    y = module(x)
    padded = F.pad(x, (0, 1, 0, 1))
    first, second = module.conv1.weight[:, :, 0, 0], module.conv2.weight[:, :, 0, 0]  # type: ignore[index, union-attr]
    assert (len(first), len(second)) == (3, 2)  # type: ignore[arg-type]
    for i in range(y.shape[2]):
        for j in range(y.shape[3]):
            expected = torch.cat([first @ x[0, :, 2 * i, 2 * j], second @ padded[0, :, 2 * i + 1, 2 * j + 1]])  # type: ignore[operator]
            torch.testing.assert_close(y[0, :, i, j], expected)


def test_one_channel_cannot_be_reduced_in_two_halves() -> None:
    with pytest.raises(ShapeError, match="use a width of 2 or more"):
        FactorisedReduction().at(1, 2).output(Feature(4, (8, 8)))


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("stride", [1, 2])
def test_averages_do_not_count_the_padding(kernel: int, stride: int) -> None:
    module = made(Pool(kernel=kernel), Feature(2, (7, 6)), 2, stride)
    constant = torch.full((1, 2, 7, 6), 3.0, dtype=torch.float64)
    torch.testing.assert_close(module(constant), torch.full_like(module(constant), 3.0))
    assert not list(module.parameters())


def test_pooling_to_another_width_projects_behind_the_pool() -> None:
    module = made(Pool(mode="max"), Feature(4, (6, 6)), 3, 2)
    x = torch.randn(2, 4, 6, 6, dtype=torch.float64)
    y = F.conv2d(F.max_pool2d(x, 3, 2, 1), module.conv.weight)  # type: ignore[union-attr, arg-type]
    torch.testing.assert_close(module(x), norm(module.norm, y))  # type: ignore[arg-type]


def test_a_skip_connection_is_the_identity_until_the_type_changes() -> None:
    x = torch.randn(2, 4, 6, 6, dtype=torch.float64)
    assert torch.equal(made(Skip(), Feature(4, (6, 6)))(x), x)
    module = made(Skip(), Feature(4, (6, 6)), 6, 2)
    y = F.conv2d(F.relu(x), module.conv.weight, stride=2)  # type: ignore[union-attr, arg-type]
    torch.testing.assert_close(module(x), norm(module.norm, y))  # type: ignore[arg-type]

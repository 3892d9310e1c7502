"""Selective kernels against their definition."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archfront.hw_profiles.cost import part_cost
from archfront.space.errors import ShapeError
from archfront.space.library.block.basic import BasicBlock
from archfront.space.library.block.bottleneck import Bottleneck
from archfront.space.library.operator.conv import Conv
from archfront.space.library.operator.ghost import GhostConv
from archfront.space.library.operator.selective_kernel import SelectiveKernel
from archfront.space.types import Feature

X = Feature(16, (9, 7))


def prepared(spec: SelectiveKernel | Bottleneck | BasicBlock) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    module = spec.build(X).double().eval()
    for child in module.modules():
        if isinstance(child, (nn.BatchNorm2d, nn.BatchNorm1d)):
            nn.init.uniform_(child.weight, 0.5, 1.5)
            nn.init.uniform_(child.bias, -0.5, 0.5)
    return module, X.example(3, dtype=torch.float64)[0]


def normalised(x: Tensor, norm: nn.Module) -> Tensor:
    y = x / (1 + norm.eps) ** 0.5 * norm.weight[(...,) + (None,) * (x.ndim - 2)]
    return y + norm.bias[(...,) + (None,) * (x.ndim - 2)]


@pytest.mark.parametrize(
    "options",
    [{}, {"kernels": (3, 5, 7), "stride": 2, "width": 24}, {"dilated": False, "groups": 4}, {"split_input": True}],
)
def test_branches_are_added_up_with_weights_from_the_sum_of_all(options: dict[str, object]) -> None:
    spec = SelectiveKernel(**options)
    module, x = prepared(spec)
    maps = []
    for m, (branch, kernel) in enumerate(zip(module.branches, spec.kernels, strict=True)):
        share = 16 // len(spec.kernels)
        fed = x[:, m * share : (m + 1) * share] if spec.split_input else x
        extent = 3 if spec.dilated else kernel
        assert branch.conv.kernel_size == (extent, extent)
        y = F.conv2d(fed, branch.conv.weight, stride=spec.stride, padding=kernel // 2, groups=spec.groups,
                     dilation=(kernel - 1) // (extent - 1))  # fmt: skip
        maps.append(torch.relu(normalised(y, branch.norm)))
    summary = sum(maps).flatten(2).mean(-1)
    vector = torch.relu(normalised(summary @ module.reduce.weight.T, module.norm))
    scores = torch.stack([vector @ layer.weight.T for layer in module.select]).exp()
    weights = scores / scores.sum(0)
    expected = sum(w[:, :, None, None] * y for w, y in zip(weights, maps, strict=True))
    torch.testing.assert_close(module(x), expected)


def test_the_weights_of_the_branches_add_up_to_1_for_every_channel() -> None:
    module, x = prepared(SelectiveKernel(kernels=(3, 5, 7)))
    weights = module.weights(module.maps(x))
    torch.testing.assert_close(weights.sum(1), torch.ones(3, 16, dtype=torch.float64))
    assert not torch.isclose(weights[0], weights[1]).all()


def test_one_branch_is_a_convolution_with_norm_and_activation() -> None:
    module, x = prepared(SelectiveKernel(kernels=(3,)))
    torch.testing.assert_close(module(x), module.branches[0](x))


@pytest.mark.parametrize("chosen", [0, 1])
def test_weights_that_choose_one_branch_give_that_branch(chosen: int) -> None:
    module, x = prepared(SelectiveKernel())
    nn.init.ones_(module.norm.bias)
    nn.init.zeros_(module.norm.weight)
    for m, layer in enumerate(module.select):
        nn.init.constant_(layer.weight, 100.0 if m == chosen else 0.0)
    torch.testing.assert_close(module(x), module.branches[chosen](x), rtol=0, atol=0)


def test_the_inner_width_has_a_least_value() -> None:
    for channels, hidden in ((64, 32), (512, 32), (1024, 64)):
        assert SelectiveKernel().build(Feature(channels, (2, 2))).reduce.out_features == hidden


@pytest.mark.parametrize("split", [True, False])
def test_splitting_the_input_leaves_the_convolutions_as_many_weights_as_one(split: bool) -> None:
    x = Feature(64, (4, 4))
    convolutions = 9 * 64 * 64 * (1 if split else 2)
    vectors = 64 * 32 + 2 * 32 + 2 * 32 * 64
    assert part_cost(SelectiveKernel(split_input=split), x).params == convolutions + 4 * 64 + vectors


def test_the_unit_has_nothing_between_selection_and_expansion() -> None:
    module, x = prepared(Bottleneck(width=32, stride=2, ratio=0.5, operator=SelectiveKernel(groups=4)))
    branch = module.expand(module.conv(module.reduce(x)))
    torch.testing.assert_close(module(x), torch.relu(module.shortcut(x) + branch))
    module, x = prepared(BasicBlock(width=32, stride=2, operator=SelectiveKernel(), second=Conv()))
    branch = module.norm2(module.conv2(module.conv1(x)))
    torch.testing.assert_close(module(x), torch.relu(module.shortcut(x) + branch))
    assert isinstance(Bottleneck(operator=GhostConv(kernel=3)).build(X).norm, nn.Identity)


def test_shapes_that_do_not_divide_are_refused() -> None:
    with pytest.raises(ShapeError, match="3 branches do not divide 16 channels; use 1, 2, 4, 8 or 16 branches"):
        SelectiveKernel(kernels=(3, 5, 7), split_input=True).output(X)
    with pytest.raises(ShapeError, match="groups do not divide"):
        SelectiveKernel(groups=3).output(X)


def test_larger_objects_shift_the_weight_to_the_larger_kernel_after_training() -> None:
    """Targets are blurred over 3x3 where the square in the image is small, and over 9x9 where it is large."""
    torch.manual_seed(0)
    module = SelectiveKernel(kernels=(3, 9), dilated=False, width=4).build(Feature(1, (16, 16))).train()
    readout = nn.Conv2d(4, 1, 1)
    optimiser = torch.optim.Adam([*module.parameters(), *readout.parameters()], lr=0.01)

    def batch(count: int) -> tuple[Tensor, Tensor, Tensor]:
        large = torch.arange(count) % 2 == 1
        x = torch.zeros(count, 1, 16, 16)
        for image, is_large in zip(x, large, strict=True):
            extent = 10 if is_large else 3
            row, column = torch.randint(0, 17 - extent, (2,)).tolist()
            image[0, row : row + extent, column : column + extent] = 1 + torch.randn(extent, extent)
        small_blur, large_blur = (F.avg_pool2d(x, k, 1, k // 2) for k in (3, 9))
        return x, torch.where(large[:, None, None, None], large_blur, small_blur), large

    for _ in range(80):
        x, y, _ = batch(8)
        optimiser.zero_grad()
        F.mse_loss(readout(module(x)), y).backward()
        optimiser.step()
    module.eval()
    with torch.no_grad():
        x, _, large = batch(32)
        larger_kernel = module.weights(module.maps(x))[:, 1].mean(1)
    assert larger_kernel[large].mean() > larger_kernel[~large].mean() + 0.1

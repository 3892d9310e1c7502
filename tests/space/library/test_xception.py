"""Factored convolutions against full kernels; the block of Xception against its layers written out."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from archfront.space.errors import ShapeError
from archfront.space.library.block.bottleneck import Bottleneck
from archfront.space.library.block.operator_layer import OperatorLayer
from archfront.space.library.block.xception import XceptionBlock
from archfront.space.library.operator.factored import FactoredConv
from archfront.space.types import Feature

X = Feature(8, (7, 9))


def built(spec: FactoredConv | XceptionBlock | OperatorLayer, x: Feature = X) -> nn.Module:
    """The module in double precision with statistics that are no special case."""
    torch.manual_seed(0)
    module = spec.build(x).double().eval()
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            for tensor in (norm.running_mean, norm.running_var, norm.weight, norm.bias):
                nn.init.uniform_(tensor, 0.5, 1.5)
    return module


def test_it_equals_a_full_convolution_with_a_kernel_of_rank_one_for_every_input_channel() -> None:
    module = built(FactoredConv(width=12), Feature(8, (7, 7)))
    (x,) = Feature(8, (7, 7)).example(2, dtype=torch.float64)
    full = module.pointwise.weight * module.spatial.weight.transpose(0, 1)
    assert full.shape == (12, 8, 3, 3)
    torch.testing.assert_close(module(x), F.conv2d(x, full, padding=1))


def test_pointwise_first_equals_a_full_convolution_with_a_kernel_of_rank_one_for_every_output_channel() -> None:
    module = built(FactoredConv(width=12, kernel=5, order="pointwise-spatial", stride=2))
    (x,) = X.example(2, dtype=torch.float64)
    full = module.pointwise.weight * module.spatial.weight
    torch.testing.assert_close(module(x), F.conv2d(x, full, padding=2, stride=2))


@pytest.mark.parametrize("segments", [1, 4, 8, None])
def test_segments_run_from_an_ordinary_to_a_depthwise_convolution(segments: int | None) -> None:
    module = built(FactoredConv(segments=segments))
    (x,) = X.example(2, dtype=torch.float64)
    groups = segments or 8
    size = 8 // groups
    pieces = [
        F.conv2d(x[:, i * size : (i + 1) * size], module.spatial.weight[i * size : (i + 1) * size], padding=1)
        for i in range(groups)
    ]
    torch.testing.assert_close(module(x), F.conv2d(torch.cat(pieces, 1), module.pointwise.weight))


def test_norm_and_activation_stand_between_the_two_on_request_only() -> None:
    module = built(FactoredConv(inner_norm=True, inner_activation="relu"))
    (x,) = X.example(2, dtype=torch.float64)
    torch.testing.assert_close(module(x), module.pointwise(torch.relu(module.norm(module.spatial(x)))))
    plain = built(FactoredConv())
    torch.testing.assert_close(plain(-3 * x), -3 * plain(x))


def test_parameters_are_those_of_the_formula() -> None:
    module = FactoredConv(kernel=5, width=24).build(X)
    assert sum(p.numel() for p in module.parameters()) == 25 * 8 + 8 * 24


def test_segments_that_do_not_divide_are_refused_with_what_would() -> None:
    with pytest.raises(ShapeError, match="operator: 3 segments do not divide 4 channels; use 1, 2 or 4"):
        Bottleneck(operator=FactoredConv(segments=3)).output(Feature(16, (8, 8)))


def by_hand(module: nn.Module, x: Tensor, widths: list[int], leading: bool) -> Tensor:
    """Activation, convolution and batch norm for every width."""
    y = x
    for i, (layer, width) in enumerate(zip(module.layers, widths, strict=True)):
        y = layer.norm(layer.conv(torch.relu(y) if i or leading else y))
        assert y.shape[1] == width
    return y


@pytest.mark.parametrize(
    ("reps", "grow", "widths"),
    [(2, 1, [12, 12]), (2, 2, [8, 12]), (3, 2, [8, 12, 12]), (3, 9, [8, 8, 12]), (1, 2, [12])],
)
@pytest.mark.parametrize("leading", [True, False])
def test_the_width_changes_at_the_chosen_convolution_and_max_pooling_strides(
    reps: int, grow: int, widths: list[int], leading: bool
) -> None:
    module = built(XceptionBlock(reps=reps, grow=grow, leading_activation=leading, width=12, stride=2))
    (x,) = X.example(2, dtype=torch.float64)
    branch = F.max_pool2d(by_hand(module, x, widths, leading), 3, 2, 1)
    project = module.shortcut.project
    shortcut = project.norm(F.conv2d(x, project.conv.weight, stride=2))
    torch.testing.assert_close(module(x), shortcut + branch)


def test_aligned_the_last_convolution_strides() -> None:
    module = built(XceptionBlock(operator=FactoredConv(), downsample="operator", stride=2))
    assert [layer.conv.spatial.stride for layer in module.layers] == [(1, 1), (1, 1), (2, 2)]
    assert module(X.example(1, dtype=torch.float64)[0]).shape == (1, 8, 4, 5)


def test_a_branch_whose_last_norm_is_zero_leaves_the_input_as_it_is() -> None:
    module = built(XceptionBlock())
    nn.init.zeros_(module.layers[-1].norm.weight)
    nn.init.zeros_(module.layers[-1].norm.bias)
    (x,) = X.example(2, dtype=torch.float64)
    before = x.clone()
    assert torch.equal(module(x), x)
    assert torch.equal(x, before)  # the leading activation does not work in place


def test_an_operator_layer_is_a_convolution_with_norm_and_activation_and_no_shortcut() -> None:
    module = built(OperatorLayer(operator=FactoredConv(), width=12, stride=2))
    (x,) = X.example(2, dtype=torch.float64)
    torch.testing.assert_close(module(x), torch.relu(module.norm(module.conv(x))))
    assert module(x).shape == (2, 12, 4, 5)

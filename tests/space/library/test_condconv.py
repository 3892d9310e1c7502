"""Conditional convolutions against the mixture of their experts' outputs."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archfront.hw_profiles.cost import part_cost
from archfront.space.library.block.cond_mbconv import CondMBConv
from archfront.space.library.gate.squeeze_excite import SqueezeExcite
from archfront.space.library.operator.condconv import CondConv
from archfront.space.library.operator.conv import Conv
from archfront.space.types import Feature

X = Feature(16, (9, 7))


def prepared(spec: CondConv | CondMBConv) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    return spec.build(X).double().eval(), X.example(3, dtype=torch.float64)[0]


def mixture(conv: nn.Module, x: Tensor, weights: Tensor) -> Tensor:
    """The sum of the experts' outputs, weighted for each image."""
    outputs = [F.conv2d(x, e.weight, stride=e.stride, padding=e.padding, groups=e.groups) for e in conv.experts]
    return sum(w[:, None, None, None] * y for w, y in zip(weights.unbind(1), outputs, strict=True))


@pytest.mark.parametrize("routing", ["sigmoid", "softmax"])
@pytest.mark.parametrize(("kernel", "groups", "stride"), [(1, 1, 1), (1, 1, 2), (3, 1, 2), (5, 8, 1), (3, 16, 2)])
def test_the_mixed_kernel_computes_the_mixture_of_the_experts(
    kernel: int, groups: int, stride: int, routing: str
) -> None:
    module, x = prepared(CondConv(width=32, kernel=kernel, groups=groups, stride=stride, routing=routing, experts=3))
    scores = x.flatten(2).mean(-1) @ module.routing.linear.weight.T + module.routing.linear.bias
    weights = scores.sigmoid() if routing == "sigmoid" else scores.exp() / scores.exp().sum(1, keepdim=True)
    expected = mixture(module.conv, x, weights)
    torch.testing.assert_close(module(x), expected)
    kernels = weights @ torch.stack([e.weight.flatten() for e in module.conv.experts])
    torch.testing.assert_close(module.conv.multiplied(x, kernels), expected)  # what torch.export sees


def test_one_expert_is_a_plain_convolution_and_the_same_as_one_mixed_with_weight_1() -> None:
    plain, x = prepared(CondConv(experts=1))
    assert isinstance(plain, nn.Conv2d) and isinstance(Conv().build(X), nn.Conv2d)
    module, _ = prepared(CondConv(experts=2))
    module.conv.experts[0].weight = plain.weight
    only_first = torch.tensor([[1.0, 0.0]], dtype=torch.float64).expand(3, 2)
    torch.testing.assert_close(module.conv(x, only_first), plain(x))


def test_each_image_has_a_kernel_of_its_own_wherever_it_stands_in_the_batch() -> None:
    module, x = prepared(CondConv())
    order = torch.tensor([2, 0, 1])
    torch.testing.assert_close(module(x[order]), module(x)[order])
    twins = module(x[[0, 0, 1]])
    assert torch.equal(twins[0], twins[1])
    weights = module.routing(x)
    assert not torch.isclose(weights[0], weights[1]).any()


@pytest.mark.parametrize(("experts", "kernel", "groups"), [(4, 3, 1), (8, 1, 1), (2, 5, 16)])
def test_mixing_costs_one_multiply_add_a_weight_and_expert(experts: int, kernel: int, groups: int) -> None:
    weights = 16 * 16 // groups * kernel**2
    cost = part_cost(CondConv(experts=experts, kernel=kernel, groups=groups), X)
    assert cost.contractions == experts * weights + 16 * experts + weights * 63
    assert cost.params == experts * weights + 16 * experts + experts


@pytest.mark.parametrize("scope", ["block", "layer"])
def test_the_block_routes_by_its_input_or_each_convolution_by_its_own(scope: str) -> None:
    module, x = prepared(CondMBConv(expand=2, gate=SqueezeExcite(), scope=scope, experts=2))
    first = module.routing(x)
    y = module.act1(module.norm1(mixture(module.expand, x, first)))
    second = first if scope == "block" else module.depthwise_routing(y)
    y = module.gate(module.act2(module.norm2(mixture(module.depthwise, y, second))))
    third = first if scope == "block" else module.project_routing(y)
    torch.testing.assert_close(module(x), x + module.norm3(mixture(module.project, y, third)))

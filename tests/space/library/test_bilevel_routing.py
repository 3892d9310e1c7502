"""Bi-level routing attention against loops over regions, and the attention of BiFormer's last stage."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from archfront.hw_profiles.cost import part_cost
from archfront.space.errors import ShapeError
from archfront.space.library.mixer.bilevel_routing import BiLevelRouting
from archfront.space.library.mixer.locally_enhanced_attention import LocallyEnhancedAttention
from archfront.space.types import Feature


def prepared(spec: BiLevelRouting, size: tuple[int, int], channels: int = 8) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    x = Feature(channels, size)
    return spec.build(x).double(), x.example(2, dtype=torch.float64)[0]


def linear(conv: nn.Module, x: Tensor) -> Tensor:
    """A 1x1 convolution by plain products: (N, C, L) to (N, C', L)."""
    y = torch.einsum("oc,ncl->nol", conv.weight[:, :, 0, 0], x)
    return y if conv.bias is None else y + conv.bias[:, None]


def attended(query: Tensor, key: Tensor, value: Tensor, heads: int, scale: float) -> Tensor:
    """Attention in every head, (N, C, L) and twice (N, C, M) to (N, C, L)."""
    q, k, v = (t.unflatten(1, (heads, -1)) for t in (query, key, value))
    weights = (scale * torch.einsum("nhdl,nhdm->nhlm", q, k)).softmax(-1)
    return torch.einsum("nhlm,nhdm->nhdl", weights, v).flatten(1, 2)


def test_every_region_attends_to_the_regions_that_a_loop_finds() -> None:
    module, x = prepared(BiLevelRouting(regions=7, topk=3, head_dim=4), (14, 14))
    qkv = linear(module.qkv, x.flatten(2)).reshape(2, 24, 14, 14)
    query, key, value = qkv.split(8, 1)
    cells = [(slice(r, r + 2), slice(c, c + 2)) for r in range(0, 14, 2) for c in range(0, 14, 2)]
    mixed = torch.zeros_like(x)
    for n in range(2):
        mean_keys = torch.stack([key[n, :, r, c].mean((1, 2)) for r, c in cells])
        for r, c in cells:
            affinity = mean_keys @ query[n, :, r, c].mean((1, 2))
            routed = sorted(range(49), key=lambda j: -affinity[j].item())[:3]
            keys, values = (
                torch.cat([t[n, :, cells[j][0], cells[j][1]].flatten(1) for j in routed], 1) for t in (key, value)
            )
            here = query[n, :, r, c].flatten(1)
            mixed[n, :, r, c] = attended(here[None], keys[None], values[None], 2, 8**-0.5)[0].reshape(8, 2, 2)
    expected = linear(module.project, (mixed + module.local(value)).flatten(2)).reshape(x.shape)
    torch.testing.assert_close(module(x), expected)


@pytest.mark.parametrize("topk", [9, None])
def test_all_regions_are_full_attention_beside_the_depthwise_branch(topk: int | None) -> None:
    module, x = prepared(BiLevelRouting(regions=3, topk=topk, head_dim=4, scale="head"), (6, 9))
    query, key, value = linear(module.qkv, x.flatten(2)).split(8, 1)
    mixed = attended(query, key, value, 2, 0.5) + module.local(value.reshape(x.shape)).flatten(2)
    torch.testing.assert_close(module(x), linear(module.project, mixed).reshape(x.shape))


def test_the_scale_is_that_of_the_full_width_or_of_a_head() -> None:
    x = Feature(32, (4, 4))
    assert BiLevelRouting(head_dim=8).build(x).scale == 32**-0.5
    assert BiLevelRouting(head_dim=8, scale="head").build(x).scale == 8**-0.5


def test_the_choice_of_regions_carries_no_gradient_but_all_weights_train() -> None:
    module, x = prepared(BiLevelRouting(regions=2, topk=1), (4, 4), 16)
    query, key, _ = module.split(module.qkv(x))
    assert not module.routes(query, key).requires_grad
    module(x).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in module.parameters())


def test_maps_that_the_regions_do_not_divide_are_filled_up_with_zeros_and_cropped() -> None:
    module, x = prepared(BiLevelRouting(regions=4, topk=2, head_dim=4), (7, 6))
    padded = torch.zeros(2, 8, 8, 8, dtype=torch.float64)
    padded[:, :, :7, :6] = x
    torch.testing.assert_close(module(x), module(padded)[:, :, :7, :6])


def test_without_padding_such_a_map_is_refused_and_so_are_more_choices_than_regions() -> None:
    with pytest.raises(ShapeError, match="7 regions do not divide 12x8; use 1, 2 or 4, or pad=True"):
        BiLevelRouting(pad=False).output(Feature(16, (12, 8)))
    with pytest.raises(ShapeError, match="use at most 4"):
        BiLevelRouting(regions=2, topk=5).output(Feature(16, (12, 8)))


def test_the_cost_rises_linearly_with_the_number_of_regions_attended_to() -> None:
    x = Feature(16, (14, 14))
    macs = [part_cost(BiLevelRouting(topk=k), x).contractions for k in (1, 2, 3, 8)]
    step = 2 * (14 * 14) ** 2 * 16 // 49
    assert macs[1] - macs[0] == macs[2] - macs[1] == step
    assert macs[3] - macs[2] == 5 * step
    assert macs[0] == 3 * 196 * 16**2 + 49**2 * 16 + step + 196 * 16 * 25 + 196 * 16**2


@pytest.mark.parametrize("source", ["input", "value"])
def test_locally_enhanced_attention_adds_a_convolution_of_the_input_or_of_the_values(source: str) -> None:
    torch.manual_seed(0)
    module = LocallyEnhancedAttention(head_dim=4, source=source).build(Feature(8, (5, 4))).double()
    x = torch.randn(2, 8, 5, 4, dtype=torch.float64)
    query, key, value = linear(module.qkv, x.flatten(2)).split(8, 1)
    near = module.local(x if source == "input" else value.reshape(x.shape))
    expected = linear(module.project, attended(query, key, value, 2, 0.5) + near.flatten(2))
    torch.testing.assert_close(module(x), expected.reshape(x.shape))

"""The mixer of convolution and slots against sums by hand."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archfront.hw_profiles.cost import part_cost
from archfront.space.errors import ShapeError
from archfront.space.library.block.glmix_block import GLMixBlock
from archfront.space.library.channel_mixer.enhanced_feed_forward import EnhancedFeedForward
from archfront.space.library.mixer.glmix import GLMix
from archfront.space.types import Feature


def multi_head(module: nn.Module, x: Tensor) -> Tensor:
    """Self-attention of (N, L, C) by plain products."""
    query, key, value = (
        F.linear(x, w, b) for w, b in zip(module.qkv.weight.chunk(3), module.qkv.bias.chunk(3), strict=True)
    )
    heads = []
    for q, k, v in zip(*(t.chunk(module.heads, -1) for t in (query, key, value)), strict=True):
        heads.append((q @ k.transpose(1, 2) / math.sqrt(q.shape[-1])).softmax(-1) @ v)
    return F.linear(torch.cat(heads, -1), module.project.weight, module.project.bias)


@pytest.mark.parametrize("slot_init", ["pool", "learnt"])
@pytest.mark.parametrize("kernel", [3, None])
def test_positions_are_grouped_mixed_and_given_back(slot_init: str, kernel: int | None) -> None:
    torch.manual_seed(0)
    module = GLMix(slots=4, slot_init=slot_init, kernel=kernel, head_dim=4).build(Feature(8, (4, 6))).double()
    nn.init.constant_(module.scale, 3.0)
    x = torch.randn(2, 8, 4, 6, dtype=torch.float64)
    if slot_init == "pool":
        tiles = [x[:, :, r : r + 2, c : c + 3].mean((2, 3)) for r in (0, 2) for c in (0, 3)]
        first = torch.stack(tiles, 1)
    else:
        first = module.slots.expand(2, -1, -1)
    tokens = x.flatten(2).transpose(1, 2)
    cosine = torch.stack([F.cosine_similarity(first[:, m, None], tokens, dim=2) for m in range(4)], 1)
    grouping, dispatch = (3 * cosine).softmax(2), (3 * cosine).softmax(1)
    torch.testing.assert_close(grouping.sum(2), torch.ones(2, 4, dtype=torch.float64))
    torch.testing.assert_close(dispatch.sum(1), torch.ones(2, 24, dtype=torch.float64))
    slots = multi_head(module.attention, torch.einsum("nml,nlc->nmc", grouping, tokens))
    spread = torch.einsum("nml,nmc->ncl", dispatch, slots).reshape(x.shape)
    near = x if kernel is None else module.local.after(module.local.depthwise(module.local.before(x)))
    torch.testing.assert_close(module(x), spread + near)


def test_one_sharp_slot_a_position_is_full_attention_over_positions() -> None:
    torch.manual_seed(0)
    module = GLMix(slots=16, kernel=1, head_dim=4).build(Feature(8, (4, 4))).double()
    nn.init.constant_(module.scale, 1e6)
    for parameter in module.local.parameters():
        nn.init.zeros_(parameter)
    x = torch.randn(2, 8, 4, 4, dtype=torch.float64)
    expected = multi_head(module.attention, x.flatten(2).transpose(1, 2)).transpose(1, 2).reshape(x.shape)
    torch.testing.assert_close(module(x), expected)


def test_the_scale_starts_at_the_inverse_root_of_the_width_and_trains() -> None:
    module = GLMix(slots=4).build(Feature(64, (4, 4)))
    assert module.scale.tolist() == pytest.approx([1 / 8])
    module(torch.randn(2, 64, 4, 4)).square().sum().backward()
    assert module.scale.grad is not None and module.scale.grad.abs() > 0


def test_the_cost_is_linear_in_the_number_of_positions() -> None:
    macs = [part_cost(GLMix(slots=16), Feature(16, size)).contractions for size in ((8, 8), (8, 16), (16, 16))]
    each = 3 * 16 * 16 + 2 * 16 * 16 + 25 * 16
    assert macs[1] - macs[0] == 64 * each
    assert macs[2] - macs[1] == 128 * each
    assert macs[0] == 64 * each + 4 * 16 * 16**2 + 2 * 16**2 * 16


def test_the_block_pools_its_slots_before_positions_and_normalisation() -> None:
    torch.manual_seed(0)
    module = GLMixBlock(mixer=GLMix(slots=4), position_kernel=3).build(Feature(16, (4, 4))).double()
    x = torch.randn(2, 16, 4, 4, dtype=torch.float64)
    placed = x + module.position(x)
    y = placed + module.mixer(module.norm1(placed), x)
    torch.testing.assert_close(module(x), y + module.channel_mixer(module.norm2(y)))
    assert not torch.allclose(module.mixer(module.norm1(placed), x), module.mixer(module.norm1(placed)))


def test_the_perceptron_adds_a_convolution_of_its_hidden_map_before_the_activation() -> None:
    torch.manual_seed(0)
    module = EnhancedFeedForward(expand=2).build(Feature(4, (5, 3))).double()
    x = torch.randn(2, 4, 5, 3, dtype=torch.float64)
    hidden = module.expand(x)
    torch.testing.assert_close(module(x), module.project(F.gelu(hidden + module.local(hidden))))


def test_slots_that_make_no_square_are_refused_unless_learnt() -> None:
    with pytest.raises(ShapeError, match="50 slots make no square of tiles; use 49 or 64"):
        GLMix(slots=50).output(Feature(16, (8, 8)))
    assert GLMix(slots=50, slot_init="learnt").output(Feature(16, (8, 8))) == Feature(16, (8, 8))

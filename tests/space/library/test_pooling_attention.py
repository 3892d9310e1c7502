"""Pooling attention against plain attention, sums over heads, and its cost."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from archfront.hw_profiles.cost import part_cost
from archfront.space.library.block.multiscale import MultiscaleBlock
from archfront.space.library.downsample.grid_class_token import TokenGrid
from archfront.space.library.mixer.pooling_attention import PooledHeads, PoolingAttention, ratio_offsets
from archfront.space.types import Feature

PLAIN = PoolingAttention(
    kernel=1, pool="max", pool_query=False, residual_pooling=False, relative_positions=False, head_dim=4
)


def heads_of(module: nn.Module, x: Tensor) -> Tensor:
    """Queries, keys and values by plain products: (3, N, heads, d, H, W)."""
    qkv = torch.einsum("oc,nchw->nohw", module.qkv.weight[:, :, 0, 0], x) + module.qkv.bias[:, None, None]
    return qkv.unflatten(1, (3, module.heads, -1)).transpose(0, 1)


def projected(module: nn.Module, heads: Tensor) -> Tensor:
    joined = heads.flatten(1, 2)
    return torch.einsum("oc,nchw->nohw", module.project.weight[:, :, 0, 0], joined) + module.project.bias[:, None, None]


def test_without_pooling_it_is_multi_head_attention() -> None:
    torch.manual_seed(0)
    module = PLAIN.build(Feature(8, (3, 5))).double()
    x = torch.randn(2, 8, 3, 5, dtype=torch.float64)
    reference = nn.MultiheadAttention(8, 2, batch_first=True).double()
    with torch.no_grad():
        reference.in_proj_weight.copy_(module.qkv.weight[:, :, 0, 0])
        reference.in_proj_bias.copy_(module.qkv.bias)
        reference.out_proj.weight.copy_(module.project.weight[:, :, 0, 0])
        reference.out_proj.bias.copy_(module.project.bias)
    tokens = x.flatten(2).transpose(1, 2)
    expected = reference(tokens, tokens, tokens)[0].transpose(1, 2).reshape(x.shape)
    torch.testing.assert_close(module(x), expected)


@pytest.mark.parametrize("residual", [True, False])
@pytest.mark.parametrize(("size", "kv_stride"), [((4, 6), 2), ((5, 3), 2), ((4, 4), 1)])
def test_pooled_attention_with_positions_equals_a_loop_over_pairs(
    size: tuple[int, int], kv_stride: int, residual: bool
) -> None:
    torch.manual_seed(0)
    spec = PoolingAttention(kv_stride=kv_stride, residual_pooling=residual, head_dim=4)
    module = spec.build(Feature(8, size)).double()
    x = torch.randn(1, 8, *size, dtype=torch.float64)
    query, key, value = heads_of(module, x)
    query, key, value = module.pool_query(query), module.pool_key(key), module.pool_value(value)
    rows, columns = module.row_bias[:, 0], module.column_bias[:, 0]
    steps = [n / k for n, k in zip(size, key.shape[3:], strict=True)]
    mixed = torch.zeros_like(query)
    for i in [(r, c) for r in range(size[0]) for c in range(size[1])]:
        q = query[0, :, :, i[0], i[1]]
        places = [(r, c) for r in range(key.shape[3]) for c in range(key.shape[4])]
        scores = []
        for r, c in places:
            down = math.floor(i[0] - r * steps[0] + (key.shape[3] - 1) * steps[0])
            right = math.floor(i[1] - c * steps[1] + (key.shape[4] - 1) * steps[1])
            offset = rows[:, down] + columns[:, right]
            scores.append((q * key[0, :, :, r, c]).sum(1) / 2 + q @ offset)
        weights = torch.stack(scores, 1).softmax(1)
        mixed[0, :, :, i[0], i[1]] = sum(weights[:, n, None] * value[0, :, :, r, c] for n, (r, c) in enumerate(places))
    torch.testing.assert_close(module(x), projected(module, mixed + query if residual else mixed))


def test_all_heads_share_one_depthwise_kernel_and_norm() -> None:
    torch.manual_seed(0)
    module = PooledHeads(4, stride=2).double()
    x = torch.randn(2, 3, 4, 6, 6, dtype=torch.float64)
    assert module.pool.weight.shape == (4, 1, 3, 3)
    for head in range(3):
        torch.testing.assert_close(module(x)[:, head], module(x[:, head : head + 1])[:, 0])


def test_offsets_of_equal_grids_are_plain_differences_and_of_unequal_ones_count_in_the_finer() -> None:
    assert ratio_offsets(3, 3).tolist() == [[2, 1, 0], [3, 2, 1], [4, 3, 2]]
    assert ratio_offsets(4, 2).tolist() == [[2, 0], [3, 1], [4, 2], [5, 3]]
    assert ratio_offsets(2, 4).tolist() == [[3, 2, 1, 0], [5, 4, 3, 2]]


def test_the_products_cost_less_by_the_square_of_the_key_stride() -> None:
    x = Feature(16, (8, 8))
    products = []
    for stride in (1, 2, 4):
        spec = PoolingAttention(kv_stride=stride, relative_positions=False)
        keys = 64 // stride**2
        pools = 9 * 16 * (64 + 2 * keys)
        products.append(part_cost(spec, x).contractions - 4 * 64 * 16**2 - pools)
    assert products == [2 * 64 * 64 * 16, 2 * 64 * 16 * 16, 2 * 64 * 4 * 16]


@pytest.mark.parametrize("stride", [1, 2, 3, 4])
@pytest.mark.parametrize("size", [(8, 8), (9, 7), (13, 4)])
@pytest.mark.parametrize("widen", ["attention", "mlp"])
def test_a_strided_block_yields_the_declared_type(stride: int, size: tuple[int, int], widen: str) -> None:
    spec = MultiscaleBlock(attention=PoolingAttention(kv_stride=2), widen=widen).at(32, stride)
    x = Feature(16, size)
    module = spec.build(x)
    assert module(*x.example(2)).shape[1:] == spec.output(x).shapes[0]


def test_the_block_adds_the_pooled_projection_of_the_normalised_input() -> None:
    torch.manual_seed(0)
    module = MultiscaleBlock().at(32, 2).build(Feature(16, (6, 6))).double()
    x = torch.randn(2, 16, 6, 6, dtype=torch.float64)
    normed = module.norm1(x)
    padded = torch.full((2, 32, 8, 8), float("-inf"), dtype=torch.float64)
    padded[:, :, 1:7, 1:7] = module.widen(normed)
    corners = [(r, c) for r in (0, 2, 4) for c in (0, 2, 4)]
    pooled = torch.stack([padded[:, :, r : r + 3, c : c + 3].amax((2, 3)) for r, c in corners], -1).reshape(2, 32, 3, 3)
    y = pooled + module.attention(normed)
    expected = y + module.project(nn.functional.gelu(module.expand(module.norm2(y))))
    torch.testing.assert_close(module(x), expected)


def test_widening_in_the_perceptron_leaves_the_attention_narrow() -> None:
    x = Feature(16, (6, 6))
    early, late = (MultiscaleBlock(widen=w).at(32, 1).build(x) for w in ("attention", "mlp"))
    assert early.attention.qkv.weight.shape == (96, 16, 1, 1)
    assert late.attention.qkv.weight.shape == (48, 16, 1, 1)
    assert [tuple(c.weight.shape[:2]) for c in (late.expand, late.project, late.widen)] == [
        (64, 16),
        (32, 64),
        (32, 16),
    ]


def test_the_class_token_is_joined_to_pooled_queries_keys_and_values_without_being_pooled() -> None:
    torch.manual_seed(0)
    row, grid = TokenGrid(8, (1, 25), (4, 6)), Feature(8, (4, 6))
    spec = PoolingAttention(kv_stride=2, head_dim=4, relative_positions=False)
    module, plain = spec.build(row).double(), spec.build(grid).double()
    plain.load_state_dict(module.state_dict())
    x = torch.randn(2, 8, 1, 25, dtype=torch.float64)
    query, key, value = heads_of(module, x)
    joined = []
    for pool, own, maps in zip(
        (module.pool_query, module.pool_key, module.pool_value),
        (plain.pool_query, plain.pool_key, plain.pool_value),
        (query, key, value),
        strict=True,
    ):
        behind = own(maps[:, :, :, 0, 1:].unflatten(3, (4, 6))).flatten(3)
        token = pool.norm(maps[:, :, :, :, :1].flatten(0, 1)).unflatten(0, (2, 2)).flatten(3)
        joined.append(torch.cat((token, behind), 3))
    q, k, v = joined
    assert [t.shape[3] for t in joined] == [25, 7, 7]
    mixed = v @ (q.transpose(2, 3) @ k / 2).softmax(-1).transpose(2, 3)
    torch.testing.assert_close(module(x), projected(module, (mixed + q)[:, :, :, None]))


def test_relative_positions_bias_pairs_of_grid_positions_only() -> None:
    torch.manual_seed(0)
    module = PoolingAttention(head_dim=4).build(TokenGrid(8, (1, 13), (3, 4))).double()
    plain = PoolingAttention(head_dim=4).build(Feature(8, (3, 4))).double()
    plain.load_state_dict(module.state_dict())
    query = torch.randn(2, 2, 4, 1, 13, dtype=torch.float64)
    bias = module.bias(query)
    assert not bias[:, :, 0].any() and not bias[:, :, :, 0].any()
    torch.testing.assert_close(bias[:, :, 1:, 1:], plain.bias(query[:, :, :, 0, 1:].unflatten(3, (3, 4))))


@pytest.mark.parametrize("widen", ["attention", "mlp"])
def test_a_strided_block_strides_the_grid_behind_a_class_token(widen: str) -> None:
    x = TokenGrid(16, (1, 36), (5, 7))
    spec = MultiscaleBlock(widen=widen, attention=PoolingAttention(kv_stride=2)).at(32, 2)
    assert spec.output(x) == TokenGrid(32, (1, 13), (3, 4))
    assert spec.build(x)(*x.example(2)).shape == (2, 32, 1, 13)

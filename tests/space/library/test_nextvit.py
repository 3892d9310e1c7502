"""Next-ViT's mixers and blocks against plain torch."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from archfront.space.errors import ShapeError, SpecError
from archfront.space.library.block.next_vit import NextConv, NextTransformer, make_divisible, side_by_side
from archfront.space.library.mixer.multi_head_conv import MultiHeadConv
from archfront.space.library.mixer.pooled_token_attention import PooledTokenAttention
from archfront.space.library.mixer.self_attention import SelfAttention
from archfront.space.spec import Spec
from archfront.space.types import Feature

X = Feature(32, (6, 5))


def built(spec: Spec, x: Feature = X) -> nn.Module:
    """The module in double precision with statistics and vectors of parameters that are no special case."""
    torch.manual_seed(0)
    module = spec.build(x).double().eval()
    for norm in module.modules():
        if isinstance(norm, (nn.BatchNorm1d, nn.BatchNorm2d)):
            for tensor in (norm.running_mean, norm.running_var, norm.weight, norm.bias):
                nn.init.uniform_(tensor, 0.5, 1.5)
    return module


@pytest.mark.parametrize("ratio", [2, 3])
def test_keys_and_values_are_averages_over_consecutive_tokens_not_over_tiles(ratio: int) -> None:
    module = built(PooledTokenAttention(ratio=ratio, head_dim=16))
    (x,) = X.example(2, dtype=torch.float64)
    tokens = x.flatten(2)
    run = ratio**2
    means = torch.stack([tokens[:, :, i * run : (i + 1) * run].mean(2) for i in range(30 // run)], 2)
    norm = module.norm
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    reduced = (means - norm.running_mean[:, None]) * scale[:, None] + norm.bias[:, None]
    query, (key, value) = module.query(tokens), module.key_value(reduced).split(32, 1)
    outputs = []
    for head in (slice(0, 16), slice(16, 32)):
        weights = (query[:, head].transpose(1, 2) @ key[:, head] / 4).softmax(-1)
        outputs.append((weights @ value[:, head].transpose(1, 2)).transpose(1, 2))
    torch.testing.assert_close(module(x), module.project(torch.cat(outputs, 1)).reshape(x.shape))


def test_without_averaging_it_is_plain_multi_head_attention() -> None:
    module = built(PooledTokenAttention(ratio=1, head_dim=8))
    plain = SelfAttention(head_dim=8).build(X).double().eval()
    with torch.no_grad():
        plain.qkv.weight.copy_(torch.cat((module.query.weight, module.key_value.weight))[..., None])
        plain.qkv.bias.copy_(torch.cat((module.query.bias, module.key_value.bias)))
        plain.project.weight.copy_(module.project.weight[..., None])
        plain.project.bias.copy_(module.project.bias)
    (x,) = X.example(2, dtype=torch.float64)
    torch.testing.assert_close(module(x), plain(x))


def test_more_tokens_than_there_are_cannot_be_averaged() -> None:
    with pytest.raises(ShapeError, match="ratio 6 averages 36 tokens, but the map has only 30; use at most 5"):
        PooledTokenAttention(ratio=6).output(X)


def test_a_multi_head_convolution_reads_only_its_own_head_before_the_projection() -> None:
    module = built(MultiHeadConv(head_dim=8))
    (x,) = X.example(2, dtype=torch.float64)
    heads = [F.conv2d(x[:, i : i + 8], module.conv.weight[i : i + 8], padding=1) for i in range(0, 32, 8)]
    torch.testing.assert_close(module(x), module.project(torch.relu(module.norm(torch.cat(heads, 1)))))


def embedded(embed: nn.Module, x: Tensor, stride: int) -> Tensor:
    """Averages over 2x2 tiles where it strides, then a 1x1 convolution and batch norm."""
    if stride == 2:
        x = F.avg_pool2d(x, 2, 2, ceil_mode=True, count_include_pad=False)
    return embed.project.norm(F.conv2d(x, embed.project.conv.weight))


@pytest.mark.parametrize(("width", "stride"), [(64, 1), (64, 2), (32, 2)])
def test_the_convolution_block_adds_both_branches_to_the_embedding(width: int, stride: int) -> None:
    module = built(NextConv(width=width, stride=stride))
    (x,) = X.example(2, dtype=torch.float64)
    y = embedded(module.embed, x, stride)
    y = y + module.mixer(y)
    hidden = module.mlp.expand(module.mlp.norm(y))
    assert hidden.shape[1] == 3 * width
    torch.testing.assert_close(module(x), y + module.mlp.project(torch.relu(hidden)))


def test_inside_a_stage_nothing_is_embedded() -> None:
    assert not list(built(NextConv()).embed.parameters())
    assert list(built(NextTransformer(head_dim=8)).embed.parameters())  # to the channels that attend


@pytest.mark.parametrize(("stride", "ratio"), [(1, 2), (2, 1)])
def test_the_transformer_block_joins_attention_and_a_convolution_of_its_result(stride: int, ratio: int) -> None:
    module = built(NextTransformer(width=64, stride=stride, ratio=ratio, head_dim=16))
    (x,) = X.example(2, dtype=torch.float64)
    h = embedded(module.embed, x, stride)
    assert h.shape[1] == 48
    h = h + module.attention(module.norm(h))
    low = embedded(module.project, h, 1)
    assert low.shape[1] == 16
    y = torch.cat((h, low + module.conv(low)), 1)
    y = y + module.mlp.project(torch.relu(module.mlp.expand(module.mlp.norm(y))))
    torch.testing.assert_close(module(x), y)


@pytest.mark.parametrize(("mix_ratio", "attended"), [(0.25, 8), (0.5, 16), (0.75, 24), (1.0, 32)])
def test_the_share_of_channels_that_attend_can_be_chosen(mix_ratio: float, attended: int) -> None:
    module = NextTransformer(mix_ratio=mix_ratio).build(X)
    assert module.attention.query.in_channels == attended
    assert (module.conv is None) == (attended == 32)


def test_a_share_above_one_is_refused() -> None:
    with pytest.raises(SpecError, match="a number above 0 and up to 1"):
        NextTransformer(mix_ratio=1.5)


@pytest.mark.parametrize(
    ("value", "expected"), [(144, 160), (142, 128), (143, 160), (20, 32), (35, 32), (36, 64), (384, 384)]
)
def test_widths_are_rounded_to_multiples_and_lose_at_most_a_tenth(value: int, expected: int) -> None:
    assert make_divisible(value, 32) == expected


def merged(norm: nn.Module, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """Weight and bias of W and b that do what norm, then W and b do."""
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    shift = norm.bias - norm.running_mean * scale
    flat = weight.flatten(1)
    return (flat * scale).reshape(weight.shape), bias + flat @ shift


def test_every_norm_in_front_of_a_linear_map_can_be_merged_into_it() -> None:
    module = built(NextTransformer(width=64, ratio=2, head_dim=16))
    (x,) = X.example(2, dtype=torch.float64)
    expected = module(x)
    attention, mlp = module.attention, module.mlp
    with torch.no_grad():
        pairs = [(mlp.norm, mlp.expand), (module.norm, attention.query), (attention.norm, attention.key_value)]
        pairs.append((module.norm, attention.key_value))  # the outer norm, once the inner one is merged
        for norm, layer in pairs:
            weight, bias = merged(norm, layer.weight, layer.bias)
            layer.weight.copy_(weight)
            layer.bias.copy_(bias)
    module.norm, attention.norm, mlp.norm = nn.Identity(), nn.Identity(), nn.Identity()
    torch.testing.assert_close(module(x), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("mix_ratio", [0.1, 0.25, 0.5, 0.75, 0.9, 1.0])
@pytest.mark.parametrize("head_dim", [8, 32])
def test_a_narrow_block_computes_the_first_channels_of_a_wide_one(mix_ratio: float, head_dim: int) -> None:
    spec = NextTransformer(mix_ratio=mix_ratio, head_dim=head_dim)
    widest = spec._heads(Feature(32 * head_dim, (4, 4)))
    for heads in range(1, 33):
        y = Feature(heads * head_dim, (4, 4))
        assert spec._heads(y) == widest[:heads]
        assert spec._heads(y).count("a") * head_dim == spec._attended(y).channels


def test_heads_stand_where_they_are_told_to() -> None:
    assert side_by_side("acaac", 2).tolist() == [0, 1, 6, 7, 2, 3, 4, 5, 8, 9]

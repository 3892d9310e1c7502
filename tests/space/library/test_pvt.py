"""Spatial-reduction attention, convolutional perceptrons, positions and class tokens against plain torch."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from archfront.hw_profiles.cost import part_cost
from archfront.space.errors import ShapeError
from archfront.space.library.block.absolute_position import AbsolutePosition
from archfront.space.library.block.metaformer import MetaFormer
from archfront.space.library.block.normalization import Normalization
from archfront.space.library.channel_mixer.conv_feed_forward import ConvFeedForward
from archfront.space.library.downsample.class_token import ClassToken
from archfront.space.library.head.token_classifier import TokenClassifier
from archfront.space.library.mixer.self_attention import SelfAttention
from archfront.space.library.mixer.spatial_reduction_attention import SpatialReductionAttention
from archfront.space.types import Feature, Scores

X = Feature(8, (6, 9))


def built(spec: object, x: Feature = X) -> nn.Module:
    """The module in double precision with vectors of parameters that are no special case."""
    torch.manual_seed(0)
    module = spec.build(x).double().eval()  # type: ignore[attr-defined]
    for parameter in module.parameters():
        if parameter.ndim == 1:
            nn.init.uniform_(parameter, 0.5, 1.5)
    return module


def attention(query: Tensor, key_value: Tensor, heads: int) -> Tensor:
    """Softmax attention of maps, head by head: queries (N, C, H, W), keys and values (N, 2 C, h, w)."""
    channels = query.shape[1]
    size = channels // heads
    key, value = key_value.flatten(2).split(channels, 1)
    outputs = []
    for head in range(heads):
        own = slice(head * size, (head + 1) * size)
        scores = query.flatten(2)[:, own].transpose(1, 2) @ key[:, own] / size**0.5
        outputs.append((scores.softmax(-1) @ value[:, own].transpose(1, 2)).transpose(1, 2))
    return torch.cat(outputs, 1).reshape(query.shape)


@pytest.mark.parametrize("ratio", [2, 3, 4])
def test_keys_and_values_come_from_convolved_tiles_behind_a_layer_norm(ratio: int) -> None:
    module = built(SpatialReductionAttention(ratio=ratio, heads=2))
    (x,) = X.example(2, dtype=torch.float64)
    rows, columns = 6 // ratio, 9 // ratio
    conv, norm = module.reduction.conv, module.reduction.norm
    tiles = [
        torch.einsum("nchw,dchw->nd", x[:, :, r * ratio : (r + 1) * ratio, c * ratio : (c + 1) * ratio], conv.weight)
        + conv.bias
        for r in range(rows)
        for c in range(columns)
    ]
    reduced = F.layer_norm(torch.stack(tiles, 1), (8,), norm.weight, norm.bias, 1e-6)
    key_value = module.key_value(reduced.transpose(1, 2).unflatten(2, (rows, columns)))
    expected = module.project(attention(module.query(x), key_value, 2))
    torch.testing.assert_close(module(x), expected)


@pytest.mark.parametrize("pool", [2, 3, 7])
def test_linear_attention_averages_over_a_fixed_number_of_regions(pool: int) -> None:
    module = built(SpatialReductionAttention(pool=pool, heads=2))
    (x,) = X.example(2, dtype=torch.float64)
    rows, columns = min(pool, 6), min(pool, 9)
    regions = [
        x[:, :, r * 6 // rows : -(-(r + 1) * 6 // rows), c * 9 // columns : -(-(c + 1) * 9 // columns)].mean((2, 3))
        for r in range(rows)
        for c in range(columns)
    ]
    pooled = torch.stack(regions, 2).unflatten(2, (rows, columns))
    norm = module.reduction.norm
    hidden = module.reduction.conv(pooled).permute(0, 2, 3, 1)
    reduced = F.gelu(F.layer_norm(hidden, (8,), norm.weight, norm.bias, 1e-6)).permute(0, 3, 1, 2)
    expected = module.project(attention(module.query(x), module.key_value(reduced), 2))
    torch.testing.assert_close(module(x), expected)


def test_without_reduction_it_is_plain_multi_head_attention() -> None:
    module = built(SpatialReductionAttention(ratio=1, heads=2))
    plain = SelfAttention(heads=2).build(X).double().eval()
    with torch.no_grad():
        plain.qkv.weight.copy_(torch.cat((module.query.weight, module.key_value.weight)))
        plain.qkv.bias.copy_(torch.cat((module.query.bias, module.key_value.bias)))
        plain.project.load_state_dict(module.project.state_dict())
    (x,) = X.example(2, dtype=torch.float64)
    torch.testing.assert_close(module(x), plain(x))


def test_without_reduction_the_block_is_that_of_a_vision_transformer() -> None:
    module = built(MetaFormer(mixer=SpatialReductionAttention(ratio=1, heads=2)))
    layer = nn.TransformerEncoderLayer(8, 2, 32, 0.0, F.gelu, 1e-6, batch_first=True, norm_first=True).double().eval()
    mixer, mlp = module.mixer, module.channel_mixer
    with torch.no_grad():
        layer.self_attn.in_proj_weight.copy_(torch.cat((mixer.query.weight, mixer.key_value.weight))[:, :, 0, 0])
        layer.self_attn.in_proj_bias.copy_(torch.cat((mixer.query.bias, mixer.key_value.bias)))
        pairs = [
            (layer.self_attn.out_proj, mixer.project),
            (layer.linear1, mlp.expand),
            (layer.linear2, mlp.project),
            (layer.norm1, module.norm1),
            (layer.norm2, module.norm2),
        ]
        for mine, theirs in pairs:
            mine.weight.copy_(theirs.weight.reshape(mine.weight.shape))
            mine.bias.copy_(theirs.bias)
    (x,) = X.example(2, dtype=torch.float64)
    tokens = layer(x.flatten(2).transpose(1, 2))
    torch.testing.assert_close(module(x), tokens.transpose(1, 2).reshape(x.shape))


@pytest.mark.parametrize("ratio", [1, 2, 4])
def test_multiply_adds_follow_the_formula(ratio: int) -> None:
    n, m, c = 16 * 24, 16 * 24 // ratio**2, 32
    expected = 2 * n * c**2 + 2 * m * c**2 + (ratio**2 * m * c**2 if ratio > 1 else 0) + 2 * n * m * c
    assert part_cost(SpatialReductionAttention(ratio=ratio), Feature(c, (16, 24))).contractions == expected


def test_cost_of_linear_attention_grows_with_the_map_and_that_of_tiles_with_its_square() -> None:
    def grown(spec: SpatialReductionAttention) -> float:
        small, large = (part_cost(spec, Feature(16, (n, n))).contractions for n in (28, 56))
        return large / small

    assert grown(SpatialReductionAttention(pool=7)) == pytest.approx(4.0, rel=0.05)
    assert grown(SpatialReductionAttention(ratio=1)) > 12


def test_tiles_larger_than_the_map_are_refused_with_what_would_work() -> None:
    with pytest.raises(ShapeError, match="ratio 8 is larger than the map 6x9; use at most 6, or pool"):
        SpatialReductionAttention(ratio=8, heads=2).output(X)


@pytest.mark.parametrize("rectify", [True, False])
def test_a_convolutional_perceptron_convolves_between_its_two_layers(rectify: bool) -> None:
    module = built(ConvFeedForward(expand=3, kernel=5, rectify=rectify))
    (x,) = X.example(2, dtype=torch.float64)
    hidden = module.expand(x)
    hidden = torch.relu(hidden) if rectify else hidden
    kernels, bias = module.depthwise.weight, module.depthwise.bias
    convolved = [F.conv2d(hidden[:, i : i + 1], kernels[i : i + 1], bias[i : i + 1], padding=2) for i in range(24)]
    torch.testing.assert_close(module(x), module.project(F.gelu(torch.cat(convolved, 1))))


def test_positions_tell_equal_pixels_apart() -> None:
    module = built(AbsolutePosition())
    (x,) = X.example(2, dtype=torch.float64)
    assert module.table.shape == (1, 8, 6, 9)
    torch.testing.assert_close(module(x) - x, module.table.expand(2, -1, -1, -1))


def test_a_normalisation_alone_gives_every_position_mean_0_and_deviation_1() -> None:
    module = Normalization().build(X).double()
    y = module(3 + 5 * X.example(2, dtype=torch.float64)[0])
    torch.testing.assert_close(y.mean(1), torch.zeros(2, 6, 9, dtype=torch.float64))
    torch.testing.assert_close(y.var(1, unbiased=False), torch.ones(2, 6, 9, dtype=torch.float64), rtol=0, atol=1e-4)


def test_a_class_token_leads_the_positions_row_by_row() -> None:
    spec = ClassToken(width=16, stride=3)
    module = built(spec)
    (x,) = X.example(2, dtype=torch.float64)
    assert spec.output(X) == Feature(16, (1, 7))
    y, plain = module(x), module.downsample(x)
    torch.testing.assert_close(y[:, :, 0, 0], module.token[:, :, 0, 0].expand(2, -1))
    for r in range(2):
        for c in range(3):
            torch.testing.assert_close(y[:, :, 0, 1 + 3 * r + c], plain[:, :, r, c])


def test_the_token_classifier_reads_the_first_position_alone() -> None:
    spec = TokenClassifier(classes=5)
    module = built(spec)
    (x,) = X.example(2, dtype=torch.float64)
    token = F.layer_norm(x[:, :, 0, 0], (8,), module.norm.weight, module.norm.bias, 1e-6)
    torch.testing.assert_close(module(x), module.linear(token))
    assert spec.output(X) == Scores(5)

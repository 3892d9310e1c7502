"""Split attention against loops over splits and groups; the bottleneck around it; deep stems."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from archfront.space.errors import ShapeError, SpecError
from archfront.space.library.block.bottleneck import Bottleneck
from archfront.space.library.block.resnest import ResNeSt
from archfront.space.library.operator.split_attention import SplitAttention, SplitAttentionConv
from archfront.space.library.stem.deep import DeepStem
from archfront.space.types import Feature, Image

X = Feature(16, (6, 5))


def built(spec: SplitAttention | ResNeSt, x: Feature = X) -> nn.Module:
    """The module in double precision with statistics that are no special case."""
    torch.manual_seed(0)
    module = spec.build(x).double().eval()
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            for tensor in (norm.running_mean, norm.running_var, norm.weight, norm.bias):
                nn.init.uniform_(tensor, 0.5, 1.5)
    return module


def by_hand(module: SplitAttentionConv, x: Tensor, radix: int, cardinality: int) -> Tensor:
    """Split attention with one loop over groups and one over splits inside; only the group's own channels are read."""
    u = torch.relu(module.norm(module.conv(x)))
    width = u.shape[1] // radix
    per_group = width // cardinality
    splits = [u[:, r * width : (r + 1) * width] for r in range(radix)]
    means = sum(splits).mean((2, 3))
    hidden_width = module.reduce.weight.shape[0] // cardinality
    normalise = module.hidden_norm
    outputs = []
    for k in range(cardinality):
        rows = slice(k * hidden_width, (k + 1) * hidden_width)
        z = means[:, k * per_group : (k + 1) * per_group]
        h = z @ module.reduce.weight[rows, :, 0, 0].T + module.reduce.bias[rows]
        h = (h - normalise.running_mean[rows]) / (normalise.running_var[rows] + normalise.eps).sqrt()
        h = torch.relu(h * normalise.weight[rows] + normalise.bias[rows])
        scores = []
        for r in range(radix):
            start = (k * radix + r) * per_group
            own = slice(start, start + per_group)
            scores.append(h @ module.expand.weight[own, :, 0, 0].T + module.expand.bias[own])
        total = sum(s.exp() for s in scores)
        weights = [s.exp() / total for s in scores] if radix > 1 else [1 / (1 + (-scores[0]).exp())]
        channels = slice(k * per_group, (k + 1) * per_group)
        outputs.append(sum(w[:, :, None, None] * s[:, channels] for w, s in zip(weights, splits, strict=True)))
    return torch.cat(outputs, 1)


@pytest.mark.parametrize(("radix", "cardinality"), [(1, 1), (2, 1), (2, 2), (4, 2), (1, 4)])
def test_split_attention_equals_loops_over_groups_and_splits(radix: int, cardinality: int) -> None:
    module = built(SplitAttention(radix=radix, cardinality=cardinality, width=24))
    (x,) = X.example(2, dtype=torch.float64)
    torch.testing.assert_close(module(x), by_hand(module, x, radix, cardinality))


@pytest.mark.parametrize(("radix", "cardinality"), [(2, 1), (4, 2)])
def test_the_weights_of_the_splits_sum_to_one_for_every_channel(radix: int, cardinality: int) -> None:
    module = built(SplitAttention(radix=radix, cardinality=cardinality))
    splits = torch.randn(2, radix, 16, 6, 5, dtype=torch.float64)
    weights = module.weights(splits)
    assert weights.shape == (2, radix, 16, 1, 1)
    torch.testing.assert_close(weights.sum(1), torch.ones(2, 16, 1, 1, dtype=torch.float64))


def test_where_all_splits_are_equal_the_output_is_one_of_them() -> None:
    module = built(SplitAttention(radix=2))
    split = torch.randn(2, 16, 6, 5, dtype=torch.float64)
    splits = torch.stack((split, split), 1)
    torch.testing.assert_close((module.weights(splits) * splits).sum(1), split)


def test_the_inner_width_is_a_quarter_of_all_splits_but_at_least_32() -> None:
    assert built(SplitAttention(), Feature(16, (3, 3))).reduce.out_channels == 32
    assert built(SplitAttention(radix=4), Feature(64, (3, 3))).reduce.out_channels == 64
    assert built(SplitAttention(cardinality=6), Feature(48, (3, 3))).reduce.out_channels == 36  # 32 rounded up


def test_channels_that_do_not_divide_are_refused_with_what_would() -> None:
    with pytest.raises(ShapeError, match=r"cardinality 3 times radix 2 does not divide 16 channels; .* 2, 4, 8 or 16"):
        SplitAttention(cardinality=3).output(X)
    with pytest.raises(SpecError, match="1, 2 or 4"):
        SplitAttention(radix=3)


@pytest.mark.parametrize("pool", ["after", "before", "none"])
def test_the_bottleneck_strides_where_it_is_told_to(pool: str) -> None:
    module = built(ResNeSt(width=64, stride=2, pool=pool))
    (x,) = X.example(2, dtype=torch.float64)
    hidden = torch.relu(module.reduce.norm(module.reduce.conv(x)))
    if pool == "before":
        hidden = F.avg_pool2d(hidden, 3, 2, 1)
    hidden = by_hand(module.conv, hidden, 2, 1)
    if pool == "after":
        hidden = F.avg_pool2d(hidden, 3, 2, 1)
    branch = module.expand.norm(module.expand.conv(hidden))
    project = module.shortcut.project
    tiles = F.avg_pool2d(x, 2, 2, ceil_mode=True, count_include_pad=False)
    torch.testing.assert_close(module(x), torch.relu(branch + project.norm(project.conv(tiles))))


def test_without_splits_it_is_a_plain_bottleneck() -> None:
    module = built(ResNeSt(radix=0, width=64))
    plain = Bottleneck(width=64).build(X).double().eval()
    plain.load_state_dict(dict(zip(plain.state_dict(), module.state_dict().values(), strict=True)))
    (x,) = X.example(2, dtype=torch.float64)
    torch.testing.assert_close(module(x), plain(x))


def test_the_hidden_width_follows_base_width_and_cardinality() -> None:
    assert ResNeSt(base_width=40, cardinality=2).hidden(256) == 80
    assert ResNeSt(base_width=24, cardinality=4).hidden(512) == 192


def test_a_deep_stem_is_its_convolutions_in_sequence() -> None:
    torch.manual_seed(0)
    stem = DeepStem(width=8, hidden=(4, 6), strides=(2, 1, 2), pool=True)
    module = stem.build(Image(3, 30, 21)).double().train()
    (x,) = Image(3, 30, 21).example(2, dtype=torch.float64)
    y = x
    for layer, stride in zip(module.layers, (2, 1, 2), strict=True):
        y = F.conv2d(y, layer.conv.weight, stride=stride, padding=1)
        y = torch.relu((y - y.mean((0, 2, 3), keepdim=True)) / (y.var((0, 2, 3), False, keepdim=True) + 1e-5).sqrt())
    torch.testing.assert_close(module(x), F.max_pool2d(y, 3, 2, 1))
    assert stem.output(Image(3, 30, 21)) == Feature(8, (4, 3))


def test_a_deep_stem_without_padding_has_smaller_maps_and_refuses_tiny_images() -> None:
    stem = DeepStem(width=64, hidden=(32,), strides=(2, 1), padding="valid")
    assert stem.output(Image(3, 299, 299)) == Feature(64, (147, 147))
    with pytest.raises(ShapeError, match="kernel 3 without padding is larger than 2x2; use padding='same'"):
        stem.output(Image(3, 5, 5))
    with pytest.raises(ShapeError, match="one more than hidden"):
        DeepStem(width=8, strides=(2, 1)).output(Image(3, 8, 8))

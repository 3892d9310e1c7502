"""MOAT's block and attention with a table of offsets against plain torch."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from archfront.space.library.block.moat import MOAT
from archfront.space.library.block.prenorm_mbconv import PreNormMBConv
from archfront.space.library.channel_mixer.feed_forward import FeedForward
from archfront.space.library.mixer.relative_bias_attention import RelativeBiasAttention
from archfront.space.library.mixer.window_attention import WindowAttention
from archfront.space.spec import Spec
from archfront.space.types import Feature

X = Feature(16, (6, 8))


def built(spec: Spec, x: Feature = X) -> nn.Module:
    """The module in double precision with statistics and vectors of parameters that are no special case."""
    torch.manual_seed(0)
    module = spec.build(x).double().eval()
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            for tensor in (norm.running_mean, norm.running_var, norm.weight, norm.bias):
                nn.init.uniform_(tensor, 0.5, 1.5)
    return module


@pytest.mark.parametrize("size", [(3, 4), (5, 2)])
def test_scores_hold_the_bias_of_the_offset_between_two_positions(size: tuple[int, int]) -> None:
    height, width = size
    x = Feature(8, size)
    module = built(RelativeBiasAttention(heads=2), x)
    (images,) = x.example(2, dtype=torch.float64)
    query, key, value = module.qkv(images).reshape(2, 3, 2, 4, height * width).unbind(1)
    scores = torch.einsum("nhdi,nhdj->nhij", query, key) / 2
    for i in range(height * width):
        for j in range(height * width):
            down, right = j // width - i // width, j % width - i % width
            scores[:, :, i, j] += module.table[:, 0, down + height - 1, right + width - 1]
    mixed = torch.einsum("nhij,nhdj->nhdi", scores.softmax(-1), value).reshape(images.shape)
    torch.testing.assert_close(module(images), module.project(mixed))


def test_the_table_of_a_grid_is_resized_to_the_map() -> None:
    module = built(RelativeBiasAttention(grid=4, heads=2))
    assert module.table.shape == (2, 1, 7, 7)
    own = RelativeBiasAttention(heads=2).build(X).double().eval()
    with torch.no_grad():
        own.qkv.load_state_dict(module.qkv.state_dict())
        own.project.load_state_dict(module.project.state_dict())
        own.table.copy_(F.interpolate(module.table, size=(11, 15), mode="bilinear", align_corners=False))
    (x,) = X.example(2, dtype=torch.float64)
    torch.testing.assert_close(module(x), own(x))


def test_a_window_as_large_as_the_map_is_global_attention() -> None:
    x = Feature(16, (6, 6))
    window, everywhere = built(WindowAttention(window=6), x), built(RelativeBiasAttention(), x)
    state = window.state_dict()
    everywhere.load_state_dict({"table": state.pop("bias"), **state})
    (images,) = x.example(2, dtype=torch.float64)
    torch.testing.assert_close(window(images), everywhere(images))


@pytest.mark.parametrize(("width", "stride"), [(16, 1), (32, 2)])
def test_with_the_projection_of_attention_at_zero_it_is_a_pre_norm_inverted_residual(width: int, stride: int) -> None:
    module = built(MOAT(width=width, stride=stride))
    nn.init.zeros_(module.mixer.branch.project.weight)
    nn.init.zeros_(module.mixer.branch.project.bias)
    plain = PreNormMBConv(gate=None, width=width, stride=stride).build(X).double().eval()
    plain.load_state_dict(module.conv.state_dict())
    (x,) = X.example(2, dtype=torch.float64)
    torch.testing.assert_close(module(x), plain(x))


@pytest.mark.parametrize(("width", "stride"), [(16, 1), (32, 2)])
def test_the_inverted_residual_is_followed_by_residual_attention_behind_a_layer_norm(width: int, stride: int) -> None:
    module = built(MOAT(width=width, stride=stride))
    (x,) = X.example(2, dtype=torch.float64)
    conv = module.conv
    hidden = F.gelu(conv.expand.norm(F.conv2d(conv.norm(x), conv.expand.conv.weight)))
    assert hidden.shape[1] == 4 * width
    depthwise = F.conv2d(hidden, conv.depthwise.conv.weight, stride=stride, padding=1, groups=4 * width)
    branch = conv.project(F.gelu(conv.depthwise.norm(depthwise)))
    shortcut = x if stride == 1 else conv.shortcut.project(F.avg_pool2d(x, 2))
    y = shortcut + branch
    assert y.shape == (2, width, 6 // stride, 8 // stride)
    norm = module.mixer.norm
    normed = F.layer_norm(y.permute(0, 2, 3, 1), (width,), norm.weight, norm.bias, 1e-5).permute(0, 3, 1, 2)
    torch.testing.assert_close(module(x), y + module.mixer.branch(normed))


def test_the_order_can_be_turned_and_a_perceptron_added() -> None:
    module = built(MOAT(order="mixer-conv", channel_mixer=FeedForward(), width=32, stride=2))
    (x,) = X.example(2, dtype=torch.float64)
    y = module.conv(module.mixer(x))
    assert module.mixer.branch.qkv.in_channels == 16
    perceptron = module.channel_mixer
    torch.testing.assert_close(module(x), y + perceptron.branch(perceptron.norm(y)))

"""Pixel attention, the block around it and upsampling layers against plain torch."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from archfront.space.library.block.self_calibrated_pixel import SCPA
from archfront.space.library.gate.pixel_attention import PixelAttention
from archfront.space.library.gate.squeeze_excite import SqueezeExcite
from archfront.space.library.upsample.pixel_attention import PixelAttentionUpsample
from archfront.space.library.upsample.pixel_shuffle import PixelShuffle
from archfront.space.spec import Spec
from archfront.space.types import Feature

X = Feature(12, (5, 6))


def built(spec: Spec, x: Feature = X) -> nn.Module:
    torch.manual_seed(0)
    return spec.build(x).double().eval()


def test_pixel_attention_weighs_every_entry_by_all_channels_of_its_position() -> None:
    module = built(PixelAttention())
    (x,) = X.example(2, dtype=torch.float64)
    weights = 1 / (1 + (-torch.einsum("nchw,dc->ndhw", x, module.conv.weight[:, :, 0, 0])).exp())
    nn.init.zeros_(module.conv.bias)
    torch.testing.assert_close(module(x), x * weights)


@pytest.mark.parametrize(("channels", "reduction", "params"), [(40, 2, 14_420), (64, 4, 11_280)])
def test_the_block_has_the_parameters_of_the_formula(channels: int, reduction: int, params: int) -> None:
    module = SCPA(reduction=reduction).build(Feature(channels, (4, 4)))
    half = channels // reduction
    formula = 2 * channels * half + 9 * half**2 + (half**2 + half + 18 * half**2) + 2 * half * channels
    assert sum(p.numel() for p in module.parameters()) == formula == params


@pytest.mark.parametrize("spec", [SCPA(), SCPA(pixel=False), SCPA(pixel=False, gate=SqueezeExcite()), SCPA(kernel=5)])
def test_one_branch_is_convolved_once_and_the_other_twice_with_weights_in_between(spec: SCPA) -> None:
    module = built(spec)
    (x,) = X.example(2, dtype=torch.float64)

    def leaky(y: torch.Tensor) -> torch.Tensor:
        return torch.where(y > 0, y, 0.2 * y)

    a = leaky(module.conv(leaky(module.reduce1(x))))
    u = leaky(module.reduce2(x))
    assert u.shape[1] == 6
    calibrated = module.calibrated
    values = F.conv2d(u, calibrated.conv1.weight, padding=spec.kernel // 2)
    if spec.pixel:
        values = values * torch.sigmoid(calibrated.weigh(u))
    if spec.gate:
        values = calibrated.gate(values)
    b = leaky(F.conv2d(values, calibrated.conv2.weight, padding=spec.kernel // 2))
    torch.testing.assert_close(module(x), x + module.project(torch.cat((a, b), 1)))


@pytest.mark.parametrize("stride", [2, 3])
def test_pixel_attention_upsampling_repeats_pixels_then_convolves_twice(stride: int) -> None:
    spec = PixelAttentionUpsample(width=8, stride=stride)
    module = built(spec)
    (x,) = X.example(2, dtype=torch.float64)
    y = x.repeat_interleave(stride, 2).repeat_interleave(stride, 3)
    y = F.leaky_relu(module.gate(module.conv1(y)), 0.2)
    y = F.leaky_relu(module.conv2(y), 0.2)
    torch.testing.assert_close(module(x), y)
    assert spec.output(X) == Feature(8, (5 * stride, 6 * stride))


@pytest.mark.parametrize("stride", [2, 3])
def test_pixel_shuffle_lays_channels_out_as_tiles(stride: int) -> None:
    spec = PixelShuffle(width=4, stride=stride)
    module = built(spec)
    (x,) = X.example(2, dtype=torch.float64)
    y, coarse = module(x), module.conv(x)
    assert spec.output(X) == Feature(4, (5 * stride, 6 * stride))
    for i in range(stride):
        for j in range(stride):
            torch.testing.assert_close(y[:, :, i::stride, j::stride], coarse[:, i * stride + j :: stride**2])

"""Stems, operators, downsamplings, upsampling and the head against their definitions."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from archfront.space.errors import ShapeError
from archfront.space.library.downsample.convolution import ConvDownsample
from archfront.space.library.downsample.pooling import PoolDownsample
from archfront.space.library.downsample.space_to_depth import SpaceToDepth
from archfront.space.library.head.classifier import Classifier
from archfront.space.library.operator.conv import Conv
from archfront.space.library.operator.factored import FactoredConv
from archfront.space.library.stem.convolution import ConvStem
from archfront.space.library.stem.patch import PatchStem
from archfront.space.library.upsample.interpolate import Interpolate
from archfront.space.spec import Operator, Spec
from archfront.space.types import Feature, Image


def prepared(spec: Spec, x: Feature) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    return spec.build(x).double().eval(), x.example(2, dtype=torch.float64)[0]


@pytest.mark.parametrize("operator", [Conv(kernel=5), Conv(groups=2), Conv(dilation=2), FactoredConv(kernel=5)])
@pytest.mark.parametrize("stride", [2, 3])
def test_a_strided_operator_keeps_every_stride_th_position_of_the_unstrided_one(
    operator: Operator, stride: int
) -> None:
    x = Feature(4, (9, 8))
    strided, example = prepared(operator.at(6, stride), x)
    dense, _ = prepared(operator.at(6, 1), x)
    torch.testing.assert_close(strided(example), dense(example)[:, :, ::stride, ::stride])


def test_conv_names_the_groups_that_do_not_divide() -> None:
    with pytest.raises(ShapeError, match="4 groups must divide the widths 8 and 6"):
        Conv(groups=4, width=6).output(Feature(8, (4, 4)))


def test_dilated_taps_stand_apart() -> None:
    module, x = prepared(Conv(kernel=3, dilation=2, width=1), Feature(1, (7, 7)))
    expected = sum(
        module.weight[0, 0, r, c] * x[0, 0, 3 + 2 * (r - 1), 3 + 2 * (c - 1)] for r in range(3) for c in range(3)
    )
    torch.testing.assert_close(module(x)[0, 0, 3, 3], expected)


def test_separable_conv_is_a_convolution_whose_kernels_have_rank_one() -> None:
    module, x = prepared(FactoredConv(kernel=3, width=6, stride=2), Feature(4, (5, 6)))
    kernels = module.pointwise.weight * module.spatial.weight.transpose(0, 1)
    torch.testing.assert_close(module(x), nn.functional.conv2d(x, kernels, stride=2, padding=1))


@pytest.mark.parametrize("pool", ["max", "average"])
@pytest.mark.parametrize(("size", "stride"), [((6, 4), 2), ((7, 5), 2), ((7, 4), 3)])
def test_pooling_reduces_tiles_that_the_border_cuts_off(pool: str, size: tuple[int, int], stride: int) -> None:
    module, x = prepared(PoolDownsample(pool=pool, stride=stride), Feature(3, size))
    y = module(x)
    for r in range(math.ceil(size[0] / stride)):
        for c in range(math.ceil(size[1] / stride)):
            tile = x[:, :, r * stride : (r + 1) * stride, c * stride : (c + 1) * stride].flatten(2)
            torch.testing.assert_close(y[:, :, r, c], tile.amax(-1) if pool == "max" else tile.mean(-1))


def test_pooling_has_no_parameters_where_the_width_stays_and_projects_where_it_changes() -> None:
    x = Feature(3, (6, 4))
    assert not list(PoolDownsample(stride=2).build(x).parameters())
    assert sum(p.numel() for p in PoolDownsample(stride=2, width=5).build(x).parameters()) == 3 * 5 + 2 * 5
    assert sum(p.numel() for p in PoolDownsample(stride=2, width=5, norm="none").build(x).parameters()) == 3 * 5 + 5


def test_space_to_depth_moves_each_pixel_of_a_tile_to_a_channel_of_its_own() -> None:
    module, x = prepared(SpaceToDepth(width=18, stride=3, norm="none"), Feature(2, (6, 9)))
    module.conv.conv.weight.data = torch.eye(18, dtype=torch.float64)[:, :, None, None]
    nn.init.zeros_(module.conv.conv.bias)
    y = module(x)
    for channel in range(2):
        for r in range(3):
            for c in range(3):
                torch.testing.assert_close(y[:, 9 * channel + 3 * r + c], x[:, channel, r::3, c::3])


def test_space_to_depth_with_a_1x1_convolution_is_a_convolution_over_tiles() -> None:
    module, x = prepared(SpaceToDepth(width=5, stride=2, norm="none"), Feature(3, (6, 8)))
    tiles = module.conv.conv.weight.reshape(5, 3, 2, 2)
    torch.testing.assert_close(module(x), nn.functional.conv2d(x, tiles, module.conv.conv.bias, stride=2))


def test_every_pixel_gets_a_gradient_through_space_to_depth() -> None:
    module, x = prepared(SpaceToDepth(width=5, stride=2), Feature(3, (6, 8)))
    module(x.requires_grad_()).square().sum().backward()
    assert (x.grad != 0).all()


def test_space_to_depth_completes_the_last_tiles_with_zeros() -> None:
    module, x = prepared(SpaceToDepth(width=5, stride=4), Feature(2, (6, 11)))
    filled = torch.zeros(*x.shape[:2], 8, 12, dtype=x.dtype)
    filled[:, :, :6, :11] = x
    assert SpaceToDepth(stride=4).output(Feature(2, (6, 11))) == Feature(2, (2, 3))
    torch.testing.assert_close(module(x), module(filled))


def test_groups_of_space_to_depth_see_only_the_tiles_of_their_own_channels() -> None:
    module, x = prepared(SpaceToDepth(width=6, stride=2, groups=2, norm="none"), Feature(4, (4, 6)))
    changed = x.clone()
    changed[:, 2:] += 1.0
    torch.testing.assert_close(module(changed)[:, :3], module(x)[:, :3])
    assert bool((module(changed)[:, 3:] != module(x)[:, 3:]).all())
    with pytest.raises(ShapeError, match="3 groups do not divide 4 and 6 channels; use 1 or 2"):
        SpaceToDepth(width=6, stride=2, groups=3).output(Feature(4, (4, 6)))


def test_conv_downsample_without_norm_has_a_bias_and_with_norm_none() -> None:
    x = Feature(4, (5, 5))
    bare = ConvDownsample(width=6, stride=2, norm="none").build(x)
    assert {name: tuple(p.shape) for name, p in bare.named_parameters()} == {
        "conv.weight": (6, 4, 3, 3),
        "conv.bias": (6,),
    }
    assert "conv.bias" not in dict(ConvDownsample(width=6, stride=2).build(x).named_parameters())


def test_conv_stem_halves_again_with_pooling() -> None:
    spec = ConvStem(width=8, kernel=7, stride=2, pool=True)
    module, x = prepared(spec, Image(3, 17, 22))
    y = torch.relu(module.norm(nn.functional.conv2d(x, module.conv.weight, stride=2, padding=3)))
    torch.testing.assert_close(module(x), nn.functional.max_pool2d(y, 3, 2, 1))
    assert spec.output(Image(3, 17, 22)) == Feature(8, (5, 6))


def test_patch_stem_maps_each_patch_linearly() -> None:
    module, x = prepared(PatchStem(width=8, patch=4), Image(3, 8, 12))
    for r in range(2):
        for c in range(3):
            patch = x[:, :, 4 * r : 4 * r + 4, 4 * c : 4 * c + 4].flatten(1)
            expected = patch @ module.conv.weight.flatten(1).T + module.conv.bias
            torch.testing.assert_close(module(x)[:, :, r, c], expected)


def test_patch_stem_names_what_would_work() -> None:
    with pytest.raises(ShapeError, match="patch 4 does not divide 6x12; use 1, 2, 3 or 6, or a kernel that overlaps"):
        PatchStem(width=8).output(Image(3, 6, 12))
    with pytest.raises(ShapeError, match="kernel 7 with padding 0 is larger than the image 5x9"):
        PatchStem(width=8, kernel=7).output(Image(3, 5, 9))


@pytest.mark.parametrize("size", [(224, 224), (225, 230), (64, 96)])
def test_patch_stem_declares_the_size_that_overlapping_patches_yield(size: tuple[int, int]) -> None:
    spec, x = PatchStem(width=8, kernel=7, padding=2), Image(3, *size)
    with torch.device("meta"):
        assert spec.build(x)(*x.example()).shape[1:] == spec.output(x).shapes[0]


def test_nearest_interpolation_repeats_positions() -> None:
    module, x = prepared(Interpolate(stride=2), Feature(3, (2, 4)))
    torch.testing.assert_close(module(x), x.repeat_interleave(2, 2).repeat_interleave(2, 3))


def test_projecting_before_interpolating_is_projecting_after_it() -> None:
    module, x = prepared(Interpolate(stride=2, width=5, mode="bilinear"), Feature(3, (2, 4)))
    torch.testing.assert_close(module(x), module.conv(module.resize(x)))


def test_classifier_is_a_linear_map_of_the_mean_over_positions() -> None:
    module, x = prepared(Classifier(classes=4), Feature(6, (5, 3)))
    expected = x.flatten(2).mean(-1) @ module.linear.weight.T + module.linear.bias
    torch.testing.assert_close(module(x), expected)


def test_classifier_features_come_before_norm_and_activation() -> None:
    module, x = prepared(Classifier(classes=4, features=12, norm="batch", activation="relu6"), Feature(6, (5, 3)))
    nn.init.uniform_(module.norm.running_mean)
    y = nn.functional.relu6(module.norm(nn.functional.conv2d(x, module.conv.weight)))
    expected = y.flatten(2).mean(-1) @ module.linear.weight.T + module.linear.bias
    torch.testing.assert_close(module(x), expected)

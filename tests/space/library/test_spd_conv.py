"""Space to depth as the downsampling of whole networks."""

from __future__ import annotations

import dataclasses

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from archfront.hw_profiles.cost import cost
from archfront.space import Architecture, Image, ShapeError
from archfront.space.library.block.basic import BasicBlock
from archfront.space.library.downsample.conv_space_to_depth import ConvSpaceToDepth
from archfront.space.library.downsample.convolution import ConvDownsample
from archfront.space.library.downsample.space_to_depth import SpaceToDepth
from archfront.space.references import references
from archfront.space.spec import Downsample
from archfront.space.types import Feature


def test_a_1x1_convolution_that_selects_the_first_sub_map_is_plain_subsampling() -> None:
    x = Feature(3, (6, 8))
    module = SpaceToDepth(width=3, stride=2, norm="none").build(x)
    with torch.no_grad():
        module.conv.conv.weight.zero_()
        module.conv.conv.bias.zero_()
        for channel in range(3):
            module.conv.conv.weight[channel, 4 * channel] = 1.0
    (image,) = x.example(2)
    torch.testing.assert_close(module(image), image[:, :, ::2, ::2])


@pytest.mark.parametrize("scale", [2, 4])
def test_a_strided_convolution_of_tiles_is_space_to_depth_and_a_1x1_convolution(scale: int) -> None:
    x = Feature(3, (8, 12))
    module = SpaceToDepth(width=5, stride=scale, norm="none").build(x).double()
    weight = module.conv.conv.weight.reshape(5, 3, scale, scale)
    (image,) = x.example(2, dtype=torch.float64)
    torch.testing.assert_close(module(image), F.conv2d(image, weight, module.conv.conv.bias, stride=scale))


def test_the_strict_placement_convolves_first_and_reads_every_pixel() -> None:
    x = Feature(3, (6, 8))
    spec = ConvSpaceToDepth(width=8, stride=2)
    assert spec.output(x) == Feature(8, (3, 4))
    module = spec.build(x).double().eval()
    image = torch.randn(1, 3, 6, 8, dtype=torch.float64, requires_grad=True)
    y = module(image)
    full = F.conv2d(image, module.conv.conv.weight, padding=1) / (1 + 1e-5) ** 0.5
    for i in range(2):
        for j in range(2):
            torch.testing.assert_close(y[:, 2 * i + j :: 4], full[:, :, i::2, j::2])
    (gradient,) = torch.autograd.grad(y.square().sum(), image)
    assert bool((gradient != 0).all())


def test_the_strict_placement_names_the_widths_that_fit() -> None:
    with pytest.raises(ShapeError, match="multiple of 4 channels, got 10; use 8 or 12"):
        ConvSpaceToDepth(width=10, stride=2).output(Feature(3, (6, 8)))
    with pytest.raises(ShapeError, match="2 groups do not divide 3 and 2 channels; use 1"):
        ConvSpaceToDepth(width=8, stride=2, groups=2).output(Feature(3, (6, 9)))
    assert ConvSpaceToDepth(width=8, stride=2).output(Feature(3, (6, 9))) == Feature(8, (3, 5))


def with_downsampling(downsample: Downsample) -> Architecture:
    """ResNet-18 with a downsampling of its own in front of the later stages."""
    network = references["resnet18"].network(10)
    first, *others = network.stages
    stages = (first, *(dataclasses.replace(s, downsample=downsample, block=None, depth=None) for s in others))
    return Architecture(Image(3, 64, 64), dataclasses.replace(network, stages=stages))


def test_swapping_the_downsampling_of_a_resnet_keeps_its_strides_and_costs_what_the_rule_says() -> None:
    strided, lossless = with_downsampling(ConvDownsample(kernel=1)), with_downsampling(SpaceToDepth(kernel=1))
    sizes = [[part.spec.output(part.input) for part in a.parts] for a in (strided, lossless)]
    assert sizes[0] == sizes[1]
    assert any(isinstance(part.spec, BasicBlock) for part in lossless.parts)
    # a convolution behind space to depth reads four times as many channels
    more = sum(4 * (c // 2) * c * n**2 - (c // 2) * c * n**2 for c, n in ((128, 8), (256, 4), (512, 2)))
    assert cost(lossless).contractions - cost(strided).contractions == more


def test_groups_divide_the_cost_of_the_convolution() -> None:
    x = Feature(16, (4, 4))
    count = lambda groups: sum(  # noqa: E731
        m.weight.numel() for m in ConvSpaceToDepth(width=32, stride=2, groups=groups).build(x).modules()
        if isinstance(m, nn.Conv2d)
    )  # fmt: skip
    assert count(1) == 4 * count(4)

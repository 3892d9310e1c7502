"""Deformable convolution: every tap of the kernel samples where the input tells it to."""

from __future__ import annotations

from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from archfront.space.errors import ShapeError
from archfront.space.library.common import divisors, image, listed
from archfront.space.library.layers_sampling import sampled_taps
from archfront.space.spec import Odd, Operator, Paper, Positive
from archfront.space.types import Feature


class DeformableConv2d(nn.Module):
    """A "same"-padded convolution without bias whose taps are moved, and on request weighted, at each position.

    A second convolution predicts for every tap the displacement (down, right) in pixels, for all taps of the first
    group of channels, then of the next; behind them one weight a tap. It starts at zero.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int = 3,
        stride: int = 1,
        groups: int = 1,
        offset_groups: int = 1,
        dilation: int = 1,
        modulated: bool = True,
    ) -> None:
        super().__init__()
        self.kernel = kernel
        self.stride = stride
        self.offset_groups = offset_groups
        self.dilation = dilation
        padding = dilation * (kernel // 2)
        predicted = (3 if modulated else 2) * kernel**2 * offset_groups
        self.offset = nn.Conv2d(in_channels, predicted, kernel, stride, padding, dilation)
        for parameter in self.offset.parameters():
            nn.init.zeros_(parameter)
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, stride, padding, dilation, groups, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        predicted: Tensor = self.offset(x)
        taps, size = self.kernel**2, predicted.shape[2:]
        moved = 2 * taps * self.offset_groups
        offsets = predicted[:, :moved].reshape(-1, self.offset_groups, taps, 2, *size)
        sampled = sampled_taps(x, offsets, self.kernel, self.stride, self.dilation)
        if predicted.shape[1] > moved:
            sampled = sampled * predicted[:, moved:].sigmoid().reshape(-1, self.offset_groups, 1, taps, *size)
        patches = sampled.flatten(1, 3)  # channel by channel, the taps of each side by side, like the kernel
        return F.conv2d(patches, self.conv.weight.flatten(1)[:, :, None, None], groups=self.conv.groups)


class DeformConv(Operator):
    """y(p) = sum_k W_k m_k(p) x(s p + p_k + d_k(p)): taps k of the kernel, moved by d and weighted by m, without bias.

    d and m come from a convolution of x with the same kernel, stride and dilation, which starts at zero: d = 0, m = 1/2
    (sigmoid), so that the layer starts as half of `Conv` (not modulated, as `Conv`). x is bilinear between pixels and
    zero outside the map. The authors train that convolution at a tenth of the learning rate.

    Args:
        kernel: extent of the kernel.
        modulated: weigh the taps (version 2); otherwise only move them (version 1).
        groups: groups of the convolution; divides both widths.
        offset_groups: groups of channels whose taps move together; divides the input width.
        dilation: distance between neighbouring taps at first.

    Zhu et al., 2019, Deformable ConvNets v2: More Deformable, Better Results; version 1 by Dai et al., 2017, Deformable
    Convolutional Networks.
    """

    paper: ClassVar[Paper] = Paper(
        title="Deformable ConvNets v2: More Deformable, Better Results",
        authors="Xizhou Zhu, Han Hu, Stephen Lin, Jifeng Dai",
        year=2019,
        key="deform_conv_v2",
    )

    kernel: Odd = 3
    modulated: bool = True
    groups: Positive = 1
    offset_groups: Positive = 1
    dilation: Positive = 1

    def output(self, x: Feature) -> Feature:
        y = image(self, x).at(self.width, self.stride)
        if x.channels % self.groups or y.channels % self.groups:
            fits = [n for n in divisors(x.channels) if y.channels % n == 0]
            raise ShapeError(
                f"{self.groups} groups do not divide the widths {x.channels} and {y.channels}; use {listed(fits)}"
            )
        if x.channels % self.offset_groups:
            raise ShapeError(
                f"{self.offset_groups} offset groups do not divide {x.channels} channels; use {listed(divisors(x.channels))}"
            )
        return y

    def build(self, x: Feature) -> nn.Module:
        return DeformableConv2d(
            x.channels,
            self.output(x).channels,
            self.kernel,
            self.stride,
            self.groups,
            self.offset_groups,
            self.dilation,
            self.modulated,
        )

"""Involution: a kernel for every position, shared by the channels of a group."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archfront.space.errors import ShapeError
from archfront.space.library.common import divisors, image, listed
from archfront.space.spec import Odd, Operator, Paper, Positive
from archfront.space.types import Feature


class Involution2d(nn.Module):
    """Sums the neighbours of every position with weights computed from the position itself, one set a group."""

    def __init__(self, channels: int, hidden: int, groups: int, kernel: int = 7, stride: int = 1) -> None:
        super().__init__()
        self.groups = groups
        self.kernel = kernel
        self.stride = stride
        shrinks = stride > 1
        self.pool = nn.AvgPool2d(stride, ceil_mode=True, count_include_pad=False) if shrinks else nn.Identity()
        self.reduce = nn.Conv2d(channels, hidden, 1, bias=False)
        self.norm = nn.BatchNorm2d(hidden)
        self.act = nn.ReLU()
        self.generate = nn.Conv2d(hidden, groups * kernel**2, 1)

    def forward(self, x: Tensor) -> Tensor:
        weights = self.generate(self.act(self.norm(self.reduce(self.pool(x)))))
        return self.aggregate(x, weights)

    def aggregate(self, x: Tensor, weights: Tensor) -> Tensor:
        """The weighted sums: (N, C, H, W) and (N, groups kernel^2, H', W') to (N, C, H', W').

        Adds one shifted map after the other, so that memory does not grow with the kernel.
        """
        rows, columns = weights.shape[2:]
        taps = weights.reshape(-1, self.groups, 1, self.kernel**2, rows, columns).unbind(3)
        padded = F.pad(x, (self.kernel // 2,) * 4)
        values = padded.reshape(-1, self.groups, padded.shape[1] // self.groups, *padded.shape[2:])
        y = torch.zeros_like(values[..., :rows, :columns])
        for tap, weight in enumerate(taps):
            top, left = divmod(tap, self.kernel)
            bottom, right = top + self.stride * (rows - 1) + 1, left + self.stride * (columns - 1) + 1
            y = torch.addcmul(y, weight, values[..., top : bottom : self.stride, left : right : self.stride])
        return y.flatten(1, 2)


def group_count(channels: int, group_channels: int) -> int:
    """The number of groups of `group_channels` channels, which must divide the width; one where the width is smaller."""
    group = min(group_channels, channels)
    if channels % group:
        raise ShapeError(f"groups of {group} channels do not divide {channels}; use {listed(divisors(channels))}")
    return channels // group


class Involution(Operator):
    """y_c(p) = sum_u w_g(c),u(p) x_c(s p + u) over the `kernel` x `kernel` neighbours u, zeros outside the map.

    The weights w = V relu(BN(W x)) + b are computed at each position, one set for each group of channels and not
    normalised; with a stride s, x is averaged over tiles of s x s for them. Keeps the width.

    Args:
        kernel: extent of the neighbourhood.
        group_channels: channels that share weights; divides the width, unless that is smaller: then all share.
        reduction: the inner width is the width over it, rounded down.

    Li et al., 2021, Involution: Inverting the Inherence of Convolution for Visual Recognition.
    """

    paper: ClassVar[Paper] = Paper(
        title="Involution: Inverting the Inherence of Convolution for Visual Recognition",
        authors="Duo Li, Jie Hu, Changhu Wang, Xiangtai Li, Qi She, Lei Zhu, Tong Zhang, Qifeng Chen",
        year=2021,
        key="involution",
    )

    kernel: Odd = 7
    group_channels: Positive = 16
    reduction: Positive = 4

    def output(self, x: Feature) -> Feature:
        y = image(self, x).at(self.width, self.stride)
        if y.channels != x.channels:
            raise ShapeError(
                f"involution keeps the width, {x.channels}; use it inside a bottleneck, which changes the width "
                f"elsewhere, or ask for {x.channels} instead of {y.channels}"
            )
        group_count(x.channels, self.group_channels)
        return y

    def build(self, x: Feature) -> nn.Module:
        channels = self.output(x).channels
        groups = group_count(channels, self.group_channels)
        return Involution2d(channels, max(1, channels // self.reduction), groups, self.kernel, self.stride)

"""Deformable convolution: every tap of the kernel samples where the input tells it to."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from archfront.space.errors import ShapeError
from archfront.space.library.common import divisors, image, listed
from archfront.space.spec import Odd, Operator, Paper, Positive
from archfront.space.types import Feature
from torch import Tensor, nn


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
        nn.init.zeros_(self.offset.weight)
        nn.init.zeros_(self.offset.bias)
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, stride, padding, dilation, groups, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        taps = self.kernel**2 * self.offset_groups
        predicted = self.offset(x)
        sampled = self.sampled(x, predicted[:, : 2 * taps].unflatten(1, (self.offset_groups, -1, 2)))
        if predicted.shape[1] > 2 * taps:
            weights = predicted[:, 2 * taps :].sigmoid()
            sampled = sampled * weights.unflatten(1, (self.offset_groups, 1, -1))
        patches = sampled.flatten(1, 3)  # channel by channel, the taps of each side by side, like the kernel
        return F.conv2d(patches, self.conv.weight.flatten(1)[:, :, None, None], groups=self.conv.groups)

    def sampled(self, x: Tensor, offsets: Tensor) -> Tensor:
        """The map at every moved tap, bilinear, zero outside: (N, groups, C / groups, taps, H', W').

        `offsets` is (N, groups, taps, 2, H', W').
        """
        height, width = x.shape[2:]
        rows, columns = offsets.shape[4:]
        # grid_sample wants (x, y) with -1 and 1 for the centres of the first and last pixel
        down = offsets[:, :, :, 0] + self.positions(rows, 0, x)
        right = offsets[:, :, :, 1] + self.positions(columns, 1, x)
        grid = torch.stack((scaled_to_unit(right, width), scaled_to_unit(down, height)), -1)
        maps = F.grid_sample(
            x.unflatten(1, (self.offset_groups, -1)).flatten(0, 1),
            grid.flatten(0, 1).flatten(1, 2),
            mode="bilinear",
            padding_mode="zeros",
            align_corners=True,
        )
        maps = maps.unflatten(2, (-1, rows))
        return maps.unflatten(0, (-1, self.offset_groups))

    def positions(self, count: int, axis: int, x: Tensor) -> Tensor:
        """Where the taps are before they move, along one axis: (taps, count, 1) for rows, (taps, 1, count) for columns."""
        taps = torch.arange(self.kernel**2, device=x.device)
        steps = taps // self.kernel if axis == 0 else taps % self.kernel
        starts = torch.arange(count, device=x.device) * self.stride
        found = ((steps - self.kernel // 2) * self.dilation)[:, None] + starts
        return (found[:, :, None] if axis == 0 else found[:, None, :]).to(x.dtype)


def scaled_to_unit(position: Tensor, size: int) -> Tensor:
    """From pixels to [-1, 1]; a map of one pixel is doubled in effect, so that its neighbours are outside."""
    return position * (2 / max(size - 1, 1)) - 1

"""Overlapping patches of unit length as the entry of a network."""

from __future__ import annotations

from typing import ClassVar

from torch import nn

from archfront.space.errors import ShapeError
from archfront.space.library.common import image
from archfront.space.library.layers_centred_norm import CentredUnitNorm2d
from archfront.space.library.mixer.oversized_conv import OversizedConv
from archfront.space.spec import NonNegative, Paper, Positive, Stem
from archfront.space.types import Feature


class UnitNormPatches(nn.Sequential):
    """A convolution with bias, then the normalisation of the vector of each position to unit length."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int = 7, stride: int = 4, padding: int = 2) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, stride, padding)
        self.norm = CentredUnitNorm2d(out_channels)


class UnitNormPatchStem(Stem):
    """unit(W * x + b), unit(y) the centred vector of a position over its length times a factor a channel.

    Sizes become (n + 2 `padding` - `kernel`) // `stride` + 1: a quarter with the defaults, those of ParCNetV2.

    Xu et al., 2023, ParCNetV2: Oversized Kernel with Enhanced Attention.
    """

    paper: ClassVar[Paper] = OversizedConv.paper

    kernel: Positive = 7
    stride: Positive = 4
    padding: NonNegative = 2

    def output(self, x: Feature) -> Feature:
        size = tuple((n + 2 * self.padding - self.kernel) // self.stride + 1 for n in image(self, x).size)
        if min(size) < 1:
            short = min(x.size)
            raise ShapeError(
                f"kernel {self.kernel} is longer than {short} positions with padding {self.padding}; "
                f"use a kernel of at most {short + 2 * self.padding}"
            )
        return Feature(self.width, size)

    def build(self, x: Feature) -> nn.Module:
        self.output(x)
        return UnitNormPatches(x.channels, self.width, self.kernel, self.stride, self.padding)

"""Strided convolution of vectors of unit length."""

from __future__ import annotations

from typing import ClassVar

from torch import nn

from archfront.space.library.common import image
from archfront.space.library.layers_centred_norm import CentredUnitNorm2d
from archfront.space.library.mixer.oversized_conv import OversizedConv
from archfront.space.spec import Downsample, Odd, Paper
from archfront.space.types import Feature


class UnitNormConv(nn.Sequential):
    """Normalisation of the vector of each position to unit length, then a convolution with bias."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int = 3, stride: int = 2) -> None:
        super().__init__()
        self.norm = CentredUnitNorm2d(in_channels)
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, stride, padding=kernel // 2)


class UnitNormConvDownsample(Downsample):
    """W * unit(x) + b, unit(x) the centred vector of a position over its length times a factor a channel.

    Stands between the stages of ParCNetV2.

    Xu et al., 2023, ParCNetV2: Oversized Kernel with Enhanced Attention.
    """

    paper: ClassVar[Paper] = OversizedConv.paper

    kernel: Odd = 3

    def output(self, x: Feature) -> Feature:
        return image(self, x).at(self.width, self.stride)

    def build(self, x: Feature) -> nn.Module:
        return UnitNormConv(x.channels, self.output(x).channels, self.kernel, self.stride)

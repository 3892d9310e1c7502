"""Depthwise separable convolution."""

from __future__ import annotations

from typing import ClassVar

from torch import nn

from archfront.space.library.common import image
from archfront.space.spec import Odd, Operator, Paper
from archfront.space.types import Feature


class SeparableConv2d(nn.Sequential):
    """A depthwise convolution followed by a pointwise one, both without bias."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(
            in_channels, in_channels, kernel, stride, padding=kernel // 2, groups=in_channels, bias=False
        )
        self.pointwise = nn.Conv2d(in_channels, out_channels, 1, bias=False)


class SeparableConv(Operator):
    """y = W1x1 (D * x): a depthwise `kernel` x `kernel` convolution, then a pointwise one, nothing between the two.

    Chollet, 2017, Xception: Deep Learning with Depthwise Separable Convolutions.
    """

    paper: ClassVar[Paper] = Paper(
        title="Xception: Deep Learning with Depthwise Separable Convolutions",
        authors="François Chollet",
        year=2017,
        key="xception_separable",
    )

    kernel: Odd = 3

    def output(self, x: Feature) -> Feature:
        return image(self, x).at(self.width, self.stride)

    def build(self, x: Feature) -> nn.Module:
        return SeparableConv2d(x.channels, self.output(x).channels, self.kernel, self.stride)

"""A pointwise convolution followed by a depthwise one."""

from __future__ import annotations

from typing import ClassVar

from torch import nn

from archfront.space.library.common import image
from archfront.space.spec import Odd, Operator, Paper
from archfront.space.types import Feature


class LiteConv2d(nn.Sequential):
    """A pointwise convolution followed by a depthwise one, both without bias."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.pointwise = nn.Conv2d(in_channels, out_channels, 1, bias=False)
        self.depthwise = nn.Conv2d(
            out_channels, out_channels, kernel, stride, padding=kernel // 2, groups=out_channels, bias=False
        )


class LiteConv(Operator):
    """y = D * (W1x1 x): a pointwise convolution, then a depthwise `kernel` x `kernel` one, nothing between the two.

    The order is the reverse of `SeparableConv`: the depthwise kernel acts on the output channels.

    Zhou et al., 2019, Omni-Scale Feature Learning for Person Re-Identification.
    """

    paper: ClassVar[Paper] = Paper(
        title="Omni-Scale Feature Learning for Person Re-Identification",
        authors="Kaiyang Zhou, Yongxin Yang, Andrea Cavallaro, Tao Xiang",
        year=2019,
        key="osnet",
    )

    kernel: Odd = 3

    def output(self, x: Feature) -> Feature:
        return image(self, x).at(self.width, self.stride)

    def build(self, x: Feature) -> nn.Module:
        return LiteConv2d(x.channels, self.output(x).channels, self.kernel, self.stride)

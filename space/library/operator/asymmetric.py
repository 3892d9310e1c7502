"""A square convolution as a row and a column."""

from __future__ import annotations

from typing import ClassVar

from torch import nn

from archfront.space.library.common import image
from archfront.space.library.operator.preactivated import Preactivated
from archfront.space.spec import Odd, Operator, Paper
from archfront.space.types import Feature


class AsymmetricConv2d(nn.Sequential):
    """A 1 x kernel convolution, batch norm, ReLU, a kernel x 1 convolution; both without bias."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        reach = kernel // 2
        self.row = nn.Conv2d(in_channels, out_channels, (1, kernel), (1, stride), padding=(0, reach), bias=False)
        self.norm = nn.BatchNorm2d(out_channels)
        self.act = nn.ReLU()
        self.column = nn.Conv2d(out_channels, out_channels, (kernel, 1), (stride, 1), padding=(reach, 0), bias=False)


class AsymmetricConv(Operator):
    """C * relu(BN(R * x)), R a 1 x `kernel` and C a `kernel` x 1 convolution; R changes the width.

    Args:
        kernel: length of R and C; 3 and 7 in the paper.

    Zoph et al., 2018, Learning Transferable Architectures for Scalable Image Recognition.
    """

    paper: ClassVar[Paper] = Preactivated.paper

    kernel: Odd = 7

    def output(self, x: Feature) -> Feature:
        return image(self, x).at(self.width, self.stride)

    def build(self, x: Feature) -> nn.Module:
        return AsymmetricConv2d(x.channels, self.output(x).channels, self.kernel, self.stride)

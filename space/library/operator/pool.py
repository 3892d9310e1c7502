"""Pooling in the place of a convolution."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import nn

from archfront.space.library.common import image
from archfront.space.library.operator.preactivated import Preactivated
from archfront.space.spec import Odd, Operator, Paper
from archfront.space.types import Feature


class PoolLayer(nn.Sequential):
    """Average or maximum over overlapping tiles; a 1x1 convolution with batch norm where the width changes."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int = 3, stride: int = 1, mode: str = "average"
    ) -> None:
        super().__init__()
        if mode == "average":
            self.pool: nn.Module = nn.AvgPool2d(kernel, stride, kernel // 2, count_include_pad=False)
        else:
            self.pool = nn.MaxPool2d(kernel, stride, kernel // 2)
        if in_channels != out_channels:
            self.conv = nn.Conv2d(in_channels, out_channels, 1, bias=False)
            self.norm = nn.BatchNorm2d(out_channels)


class Pool(Operator):
    """BN(W pool(x)): the mean or maximum around every position; W and BN are there only where the width changes.

    Averages do not count the padding.

    Args:
        mode: mean or maximum.
        kernel: extent of the tile; in the paper 3 for means, 3, 5 and 7 for maxima.

    Zoph et al., 2018, Learning Transferable Architectures for Scalable Image Recognition.
    """

    paper: ClassVar[Paper] = Preactivated.paper

    mode: Literal["average", "max"] = "average"
    kernel: Odd = 3

    def output(self, x: Feature) -> Feature:
        return image(self, x).at(self.width, self.stride)

    def build(self, x: Feature) -> nn.Module:
        return PoolLayer(x.channels, self.output(x).channels, self.kernel, self.stride, self.mode)

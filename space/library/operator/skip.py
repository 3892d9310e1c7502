"""The identity in the place of a convolution."""

from __future__ import annotations

from typing import ClassVar

from torch import nn

from archfront.space.library.common import image
from archfront.space.library.operator.preactivated import Preactivated
from archfront.space.spec import Operator, Paper
from archfront.space.types import Feature


class SkipConnection(nn.Sequential):
    """Nothing; ReLU, a strided 1x1 convolution and batch norm where the type changes."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__()
        if stride > 1 or in_channels != out_channels:
            self.act = nn.ReLU()
            self.conv = nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)
            self.norm = nn.BatchNorm2d(out_channels)


class Skip(Operator):
    """x; BN(W relu(x)) with a strided 1x1 convolution W where width or size change.

    Zoph et al., 2018, Learning Transferable Architectures for Scalable Image Recognition.
    """

    paper: ClassVar[Paper] = Preactivated.paper

    def output(self, x: Feature) -> Feature:
        return image(self, x).at(self.width, self.stride)

    def build(self, x: Feature) -> nn.Module:
        return SkipConnection(x.channels, self.output(x).channels, self.stride)

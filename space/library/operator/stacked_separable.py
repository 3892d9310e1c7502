"""The separable convolution of search cells: several in a row."""

from __future__ import annotations

from typing import ClassVar

from torch import nn

from archfront.space.library.common import image
from archfront.space.library.operator.factored import FactoredConv2d
from archfront.space.library.operator.preactivated import Preactivated, PreactivatedLayer
from archfront.space.spec import Odd, Operator, Paper, Positive
from archfront.space.types import Feature


class StackedSeparableConv2d(nn.Sequential):
    """ReLU, depthwise convolution, pointwise convolution, batch norm, `layers` times; the first one is strided."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int = 1, layers: int = 2) -> None:
        super().__init__()
        for i in range(layers):
            conv = FactoredConv2d(out_channels if i else in_channels, out_channels, kernel, 1 if i else stride)
            self.append(PreactivatedLayer(conv, out_channels))


class StackedSeparable(Operator):
    """BN(W2 (D2 * relu(BN(W1 (D1 * relu(x)))))): depthwise `kernel` x `kernel` and pointwise convolutions, twice.

    The first depthwise convolution carries the stride, the first pointwise one changes the width.

    Args:
        kernel: extent of the depthwise convolutions; 3, 5 and 7 in the paper.
        layers: how often the pair is applied; 2 in the paper.

    Zoph et al., 2018, Learning Transferable Architectures for Scalable Image Recognition.
    """

    paper: ClassVar[Paper] = Preactivated.paper

    kernel: Odd = 3
    layers: Positive = 2

    def output(self, x: Feature) -> Feature:
        return image(self, x).at(self.width, self.stride)

    def build(self, x: Feature) -> nn.Module:
        return StackedSeparableConv2d(x.channels, self.output(x).channels, self.kernel, self.stride, self.layers)

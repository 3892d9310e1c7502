"""Plain, grouped and dilated convolution."""

from __future__ import annotations

from typing import ClassVar

from torch import nn

from archfront.space.errors import ShapeError
from archfront.space.library.common import image
from archfront.space.spec import Odd, Operator, Paper, Positive
from archfront.space.types import Feature


class Conv(Operator):
    """y = W * x, a convolution without bias, padded so that sizes become ceil(n / stride).

    Args:
        kernel: extent of the kernel in both directions.
        groups: the channels are split into as many groups, each convolved on its own; divides both widths.
        dilation: distance between neighbouring taps of the kernel.

    LeCun et al., 1998, Gradient-Based Learning Applied to Document Recognition; groups as in Xie et al., 2017,
    Aggregated Residual Transformations for Deep Neural Networks.
    """

    paper: ClassVar[Paper] = Paper(
        title="Gradient-Based Learning Applied to Document Recognition",
        authors="Yann LeCun, Léon Bottou, Yoshua Bengio, Patrick Haffner",
        year=1998,
    )

    kernel: Odd = 3
    groups: Positive = 1
    dilation: Positive = 1

    def output(self, x: Feature) -> Feature:
        y = image(self, x).at(self.width, self.stride)
        if x.channels % self.groups or y.channels % self.groups:
            raise ShapeError(f"{self.groups} groups must divide the widths {x.channels} and {y.channels}")
        return y

    def build(self, x: Feature) -> nn.Module:
        return nn.Conv2d(
            x.channels,
            self.output(x).channels,
            self.kernel,
            self.stride,
            padding=self.dilation * (self.kernel // 2),
            dilation=self.dilation,
            groups=self.groups,
            bias=False,
        )

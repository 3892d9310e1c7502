"""Convolution factored into space and channels."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor, nn

from archfront.space.errors import ShapeError
from archfront.space.library.common import divisors, image, listed
from archfront.space.library.layers import make_activation
from archfront.space.spec import Odd, Operator, Paper, Positive
from archfront.space.types import Feature


class FactoredConv2d(nn.Module):
    """A grouped convolution and a pointwise one, in either order, with batch norm and activation between on request.

    `segments=None` makes the grouped convolution depthwise.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int = 3,
        stride: int = 1,
        segments: int | None = None,
        pointwise_first: bool = False,
        norm: bool = False,
        activation: str = "none",
    ) -> None:
        super().__init__()
        self.pointwise_first = pointwise_first
        width = out_channels if pointwise_first else in_channels
        self.spatial = nn.Conv2d(
            width, width, kernel, stride, padding=kernel // 2, groups=segments or width, bias=False
        )
        self.norm = nn.BatchNorm2d(width) if norm else nn.Identity()
        self.act = make_activation(activation)
        self.pointwise = nn.Conv2d(in_channels, out_channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        first, second = (self.pointwise, self.spatial) if self.pointwise_first else (self.spatial, self.pointwise)
        y: Tensor = second(self.act(self.norm(first(x))))
        return y


class FactoredConv(Operator):
    """y = P a(n(D * x)), or with order "pointwise-spatial" D * a(n(P x)): D spatial in groups, P pointwise, without bias.

    The number of groups of D goes from an ordinary convolution (1) over Inception's few segments to the depthwise one
    (None) of Xception. Neither normalisation n nor activation a stands between the two in Xception; the aligned variant
    normalises. OSNet's lite convolution is the depthwise one behind the pointwise one. D carries the stride.

    Args:
        kernel: extent of D.
        segments: number of groups of D, None for one a channel; divides the width that D works on.
        order: which comes first.
        inner_norm: whether n is batch norm.
        inner_activation: a.

    Chollet, 2017, Xception: Deep Learning with Depthwise Separable Convolutions.
    """

    paper: ClassVar[Paper] = Paper(
        title="Xception: Deep Learning with Depthwise Separable Convolutions",
        authors="François Chollet",
        year=2017,
        key="xception_separable",
    )

    kernel: Odd = 3
    segments: Positive | None = None
    order: Literal["spatial-pointwise", "pointwise-spatial"] = "spatial-pointwise"
    inner_norm: bool = False
    inner_activation: Literal["none", "relu", "relu6", "silu", "gelu", "hardswish"] = "none"

    def output(self, x: Feature) -> Feature:
        y = image(self, x).at(self.width, self.stride)
        channels = x.channels if self.order == "spatial-pointwise" else y.channels
        if channels % (self.segments or 1):
            raise ShapeError(
                f"{self.segments} segments do not divide {channels} channels; use {listed(divisors(channels))}"
            )
        return y

    def build(self, x: Feature) -> nn.Module:
        return FactoredConv2d(
            x.channels,
            self.output(x).channels,
            self.kernel,
            self.stride,
            self.segments,
            self.order == "pointwise-spatial",
            self.inner_norm,
            self.inner_activation,
        )

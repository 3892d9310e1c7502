"""A convolution at full resolution, then space to depth."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import nn

from archfront.space.errors import ShapeError
from archfront.space.library.common import divisors, image, listed
from archfront.space.library.downsample.space_to_depth import SpaceToDepth, TilesToChannels
from archfront.space.library.layers import ConvNormAct
from archfront.space.spec import Downsample, Odd, Paper, Positive
from archfront.space.types import Feature


class ConvSpaceToDepthLayer(nn.Sequential):
    """Convolves, then moves each tile of `stride` x `stride` positions into channels."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int,
        kernel: int = 3,
        groups: int = 1,
        norm: str = "batch",
        activation: str = "none",
    ) -> None:
        super().__init__()
        self.conv = ConvNormAct(
            in_channels, out_channels // stride**2, kernel, groups=groups, norm=norm, activation=activation
        )
        self.unshuffle = TilesToChannels(stride)


class ConvSpaceToDepth(Downsample):
    """s2d(act(norm(W * x))): W at full resolution to a share of 1 / s^2 of the width, s2d as in `SpaceToDepth`.

    The strict placement of the paper: a convolution with stride s becomes one with stride 1, followed by s2d, whose
    s^2-fold channels go to the next block. s = `stride`, whose square must divide the width.

    Args:
        kernel: extent of W.
        groups: W convolves so many groups of channels on their own.
        norm: after W.
        activation: act.

    Sunkara and Luo, 2022, No More Strided Convolutions or Pooling: A New CNN Building Block for Low-Resolution
    Images and Small Objects.
    """

    paper: ClassVar[Paper | None] = SpaceToDepth.paper

    kernel: Odd = 3
    groups: Positive = 1
    norm: Literal["batch", "layer", "group1", "none"] = "batch"
    activation: Literal["none", "relu", "relu6", "silu", "gelu", "hardswish"] = "none"

    def output(self, x: Feature) -> Feature:
        y = image(self, x).at(self.width, self.stride)
        share = self.stride**2
        if y.channels % share:
            near = [n * share for n in (y.channels // share, y.channels // share + 1) if n]
            raise ShapeError(
                f"stride {self.stride} needs a multiple of {share} channels, got {y.channels}; use {listed(near)}"
            )
        if x.channels % self.groups or y.channels // share % self.groups:
            fits = [n for n in divisors(x.channels) if y.channels // share % n == 0]
            raise ShapeError(
                f"{self.groups} groups do not divide {x.channels} and {y.channels // share} channels; use {listed(fits)}"
            )
        return y

    def build(self, x: Feature) -> nn.Module:
        width = self.output(x).channels
        return ConvSpaceToDepthLayer(
            x.channels, width, self.stride, self.kernel, self.groups, self.norm, self.activation
        )

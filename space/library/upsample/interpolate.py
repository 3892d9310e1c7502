"""Resampling to a finer grid."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import nn

from archfront.space.library.common import image
from archfront.space.spec import Paper, Upsample
from archfront.space.types import Feature


class ResizeConv(nn.Sequential):
    """A 1x1 convolution where the width changes, then interpolation to `stride` times the size."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, mode: str = "nearest") -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 1) if in_channels != out_channels else nn.Identity()
        self.resize = nn.Upsample(scale_factor=stride, mode=mode)


class Interpolate(Upsample):
    """resize(W x + b): a 1x1 convolution where the width changes, on the coarse grid, then interpolation.

    Both modes are linear and act on each channel alone, so the order of the two changes the cost and not the function.

    Lin et al., 2017, Feature Pyramid Networks for Object Detection.
    """

    paper: ClassVar[Paper] = Paper(
        title="Feature Pyramid Networks for Object Detection",
        authors="Tsung-Yi Lin, Piotr Dollár, Ross Girshick, Kaiming He, Bharath Hariharan, Serge Belongie",
        year=2017,
    )

    mode: Literal["nearest", "bilinear"] = "nearest"

    def output(self, x: Feature) -> Feature:
        return super().output(image(self, x))

    def build(self, x: Feature) -> nn.Module:
        return ResizeConv(x.channels, self.output(x).channels, self.stride, self.mode)

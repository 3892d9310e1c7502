"""Sub-pixel convolution."""

from __future__ import annotations

from typing import ClassVar

from torch import nn

from archfront.space.library.common import image
from archfront.space.spec import Odd, Paper, Upsample
from archfront.space.types import Feature


class SubPixelConv(nn.Sequential):
    """A convolution to `stride`^2 times the width, whose channels are then laid out as tiles of positions."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, kernel: int = 3) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels * stride**2, kernel, padding=kernel // 2)
        self.shuffle = nn.PixelShuffle(stride)


class PixelShuffle(Upsample):
    """shuffle(W * x + b): a convolution to s^2 C' channels on the coarse grid, which become tiles of s x s positions.

    Channel c s^2 + s i + j becomes row i and column j of the tile in channel c, with s = `stride`.

    Shi et al., 2016, Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel Convolutional
    Neural Network.
    """

    paper: ClassVar[Paper] = Paper(
        title="Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel Convolutional Neural "
        "Network",
        authors="Wenzhe Shi, Jose Caballero, Ferenc Huszár, Johannes Totz, Andrew P. Aitken, Rob Bishop, "
        "Daniel Rueckert, Zehan Wang",
        year=2016,
    )

    kernel: Odd = 3

    def output(self, x: Feature) -> Feature:
        return super().output(image(self, x))

    def build(self, x: Feature) -> nn.Module:
        return SubPixelConv(x.channels, self.output(x).channels, self.stride, self.kernel)

"""Space to depth: downsampling that loses no pixel."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import nn

from archfront.space.errors import ShapeError
from archfront.space.library.common import divisors, image, listed
from archfront.space.library.layers import ConvNormAct
from archfront.space.spec import Downsample, Odd, Paper
from archfront.space.types import Feature


class SpaceToDepthConv(nn.Sequential):
    """Moves each tile of `stride` x `stride` positions into channels, then convolves."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int,
        kernel: int = 1,
        norm: str = "batch",
        activation: str = "none",
    ) -> None:
        super().__init__()
        self.unshuffle = nn.PixelUnshuffle(stride)
        self.conv = ConvNormAct(in_channels * stride**2, out_channels, kernel, norm=norm, activation=activation)


class SpaceToDepth(Downsample):
    """act(norm(W * s2d(x))) with s2d: (C, H, W) -> (C s^2, H/s, W/s), s = `stride`, which must divide H and W.

    The channels of s2d are ordered by input channel first, then row, then column inside the tile, so that the weights
    for the first channels stand in front; the authors' code puts the position in the tile first, the same map
    with permuted weights.

    Sunkara and Luo, 2022, No More Strided Convolutions or Pooling: A New CNN Building Block for Low-Resolution
    Images and Small Objects.
    """

    paper: ClassVar[Paper] = Paper(
        title="No More Strided Convolutions or Pooling: A New CNN Building Block for Low-Resolution Images and Small "
        "Objects",
        authors="Raja Sunkara, Tie Luo",
        year=2022,
        key="spd_conv",
    )

    kernel: Odd = 1
    norm: Literal["batch", "layer", "group1", "none"] = "batch"
    activation: Literal["none", "relu", "relu6", "silu", "gelu", "hardswish"] = "none"

    def output(self, x: Feature) -> Feature:
        if any(n % self.stride for n in image(self, x).size):
            fits = [n for n in divisors(x.size[0]) if x.size[1] % n == 0]
            raise ShapeError(f"stride {self.stride} does not divide {'x'.join(map(str, x.size))}; use {listed(fits)}")
        return x.at(self.width, self.stride)

    def build(self, x: Feature) -> nn.Module:
        width = self.output(x).channels
        return SpaceToDepthConv(x.channels, width, self.stride, self.kernel, self.norm, self.activation)

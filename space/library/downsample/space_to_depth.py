"""Space to depth: downsampling that loses no pixel."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch.nn.functional as F
from torch import Tensor, nn

from archfront.space.errors import ShapeError
from archfront.space.library.common import divisors, image, listed
from archfront.space.library.layers import ConvNormAct
from archfront.space.spec import Downsample, Odd, Paper, Positive
from archfront.space.types import Feature


class TilesToChannels(nn.PixelUnshuffle):
    """Moves each tile of `stride` x `stride` positions into channels; zeros complete the last row and column of tiles."""

    def forward(self, x: Tensor) -> Tensor:
        stride = self.downscale_factor
        # remainders of positive numbers: exported graphs round towards zero
        right, down = ((stride - n % stride) % stride for n in (x.shape[3], x.shape[2]))
        return super().forward(F.pad(x, (0, right, 0, down)))


class SpaceToDepthConv(nn.Sequential):
    """Moves each tile of `stride` x `stride` positions into channels, then convolves."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int,
        kernel: int = 1,
        groups: int = 1,
        norm: str = "batch",
        activation: str = "none",
    ) -> None:
        super().__init__()
        self.unshuffle = TilesToChannels(stride)
        tiles = in_channels * stride**2
        self.conv = ConvNormAct(tiles, out_channels, kernel, groups=groups, norm=norm, activation=activation)


class SpaceToDepth(Downsample):
    """act(norm(W * s2d(x))) with s2d: (C, H, W) -> (C s^2, ceil(H/s), ceil(W/s)), s = `stride`.

    Where s does not divide the map, zeros complete the tiles at the right and bottom. The channels of s2d are ordered by
    input channel first, then row, then column inside the tile, so that the weights for the first channels stand in front;
    the authors' code puts the position in the tile first, the same map with permuted weights.

    Args:
        kernel: extent of W.
        groups: W convolves so many groups of input channels, with all positions of their tiles, on their own.
        norm: after W.
        activation: act.

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
    groups: Positive = 1
    norm: Literal["batch", "layer", "group1", "none"] = "batch"
    activation: Literal["none", "relu", "relu6", "silu", "gelu", "hardswish"] = "none"

    def output(self, x: Feature) -> Feature:
        y = image(self, x).at(self.width, self.stride)
        if x.channels % self.groups or y.channels % self.groups:
            fits = [n for n in divisors(x.channels) if y.channels % n == 0]
            raise ShapeError(
                f"{self.groups} groups do not divide {x.channels} and {y.channels} channels; use {listed(fits)}"
            )
        return y

    def build(self, x: Feature) -> nn.Module:
        width = self.output(x).channels
        return SpaceToDepthConv(x.channels, width, self.stride, self.kernel, self.groups, self.norm, self.activation)

"""Pooling between stages."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import nn

from archfront.space.library.common import image
from archfront.space.library.layers import make_norm
from archfront.space.spec import Downsample, Paper
from archfront.space.types import Feature


class PoolAndProject(nn.Sequential):
    """Pooling over tiles of `stride` x `stride`, then a 1x1 convolution where the width changes."""

    def __init__(
        self, in_channels: int, out_channels: int, stride: int, pool: str = "max", norm: str = "batch"
    ) -> None:
        super().__init__()
        if pool == "max":
            self.pool: nn.Module = nn.MaxPool2d(stride, ceil_mode=True)
        else:
            self.pool = nn.AvgPool2d(stride, ceil_mode=True, count_include_pad=False)
        changes = in_channels != out_channels
        self.conv = nn.Conv2d(in_channels, out_channels, 1, bias=norm == "none") if changes else nn.Identity()
        self.norm = make_norm(norm, out_channels) if changes else nn.Identity()


class PoolDownsample(Downsample):
    """norm(W1x1 pool(x)): the maximum or mean over each tile of `stride` x `stride` positions, then a projection.

    Tiles are cut off at the right and bottom border where `stride` does not divide the size. The projection and its
    normalisation are left out where the width stays.

    LeCun et al., 1998, Gradient-Based Learning Applied to Document Recognition; average pooling before the
    projection as in He et al., 2019, Bag of Tricks for Image Classification with Convolutional Neural Networks.
    """

    paper: ClassVar[Paper] = Paper(
        title="Bag of Tricks for Image Classification with Convolutional Neural Networks",
        authors="Tong He, Zhi Zhang, Hang Zhang, Zhongyue Zhang, Junyuan Xie, Mu Li",
        year=2019,
    )

    pool: Literal["max", "average"] = "max"
    norm: Literal["batch", "layer", "group1", "none"] = "batch"

    def output(self, x: Feature) -> Feature:
        return image(self, x).at(self.width, self.stride)

    def build(self, x: Feature) -> nn.Module:
        return PoolAndProject(x.channels, self.output(x).channels, self.stride, self.pool, self.norm)

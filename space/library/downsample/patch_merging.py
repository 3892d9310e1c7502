"""Patch merging: neighbours become channels, then a linear map."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor, nn

from archfront.space.library.common import image
from archfront.space.library.downsample.space_to_depth import TilesToChannels
from archfront.space.library.layers import make_norm
from archfront.space.spec import Downsample, Paper
from archfront.space.types import Feature


class PatchMerge(nn.Module):
    """Moves each tile of `stride` x `stride` positions into channels, normalises, and maps them linearly."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, norm: str = "layer") -> None:
        super().__init__()
        self.unshuffle = TilesToChannels(stride)
        self.norm = make_norm(norm, in_channels * stride**2)
        self.project = nn.Conv2d(in_channels * stride**2, out_channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.project(self.norm(self.unshuffle(x)))
        return y


class PatchMerging(Downsample):
    """W norm(s2d(x)) with s2d: (C, H, W) -> (C s^2, H/s, W/s), s = `stride`; W a linear map without bias.

    Maps that the stride does not divide are padded with zeros at the right and bottom. The normalisation sees the
    channels of all positions of a tile together.

    Liu et al., 2021, Swin Transformer: Hierarchical Vision Transformer using Shifted Windows.
    """

    paper: ClassVar[Paper] = Paper(
        title="Swin Transformer: Hierarchical Vision Transformer using Shifted Windows",
        authors="Ze Liu, Yutong Lin, Yue Cao, Han Hu, Yixuan Wei, Zheng Zhang, Stephen Lin, Baining Guo",
        year=2021,
    )

    norm: Literal["batch", "layer", "group1", "none"] = "layer"

    def output(self, x: Feature) -> Feature:
        return image(self, x).at(self.width, self.stride)

    def build(self, x: Feature) -> nn.Module:
        return PatchMerge(x.channels, self.output(x).channels, self.stride, self.norm)

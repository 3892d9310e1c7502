"""Patches of several sizes around the same points as the entry of a network."""

from __future__ import annotations

from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from archfront.space.library.common import image
from archfront.space.library.mixer.raft_token_mixing import RaftTokenMixing, resized
from archfront.space.spec import Paper, Positive, Stem
from archfront.space.types import Feature


class MultiScalePatches(nn.Module):
    """One linear map of all patches around a tile: of its own extent `stride` and of multiples of it.

    It is written as the sum of one convolution a scale, of which the first has the bias. Maps that the tiles do not
    divide are resized to the next larger one that they divide.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int, scales: tuple[int, ...] = (1, 2)) -> None:
        super().__init__()
        self.stride = stride
        self.scales = scales
        self.convs = nn.ModuleList(
            nn.Conv2d(in_channels, out_channels, scale * stride, stride, bias=i == 0) for i, scale in enumerate(scales)
        )

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        x = resized(x, (height + -height % self.stride, width + -width % self.stride))
        patches = zip(self.convs, self.scales, strict=True)
        first, *others = (conv(self.padded(x, scale * self.stride)) for conv, scale in patches)
        y: Tensor = sum(others, first)
        return y

    def padded(self, x: Tensor, kernel: int) -> Tensor:
        """x with zeros around, so that patches of `kernel` positions are centred on their tiles."""
        before, more = divmod(kernel - self.stride, 2)
        return F.pad(x, (before, before + more, before, before + more))


class MultiScalePatchStem(Stem):
    """W p + b on all patches p around each tile of `patch` x `patch` pixels, of `scales` times its extent, laid together.

    Sizes become ceil(n / patch); images that the tiles do not divide are first resized bicubically.

    Args:
        patch: distance of the tiles.
        scales: extents of the patches over that of a tile; (1,) gives plain patches, (1, 2) the patches of 4 and 8
            pixels of RaftMLP.

    Tatsunami and Taki, 2022, RaftMLP: How Much Can Be Done Without Attention and with Less Spatial Locality?
    """

    paper: ClassVar[Paper] = RaftTokenMixing.paper

    patch: Positive = 4
    scales: tuple[Positive, ...] = (1, 2)

    def output(self, x: Feature) -> Feature:
        return image(self, x).at(self.width, self.patch)

    def build(self, x: Feature) -> nn.Module:
        return MultiScalePatches(x.channels, self.output(x).channels, self.patch, self.scales)

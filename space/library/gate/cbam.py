"""Channel attention and spatial attention in turn."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from archfront.space.errors import ShapeError
from archfront.space.library.common import scaled
from archfront.space.spec import Factor, Gate, Odd, Paper
from archfront.space.types import Feature


class ChannelAttention(nn.Module):
    """A weight in (0, 1) for each channel: (N, C, ...) to (N, C, 1, ...)."""

    def __init__(self, channels: int, hidden: int, pools: str = "average+max") -> None:
        super().__init__()
        self.pools = pools
        self.reduce = nn.Linear(channels, hidden)
        self.act = nn.ReLU()
        self.expand = nn.Linear(hidden, channels)

    def forward(self, x: Tensor) -> Tensor:
        positions = tuple(range(2, x.ndim))
        if self.pools == "average":
            scores = self.score(x.mean(positions))
        elif self.pools == "max":
            scores = self.score(x.amax(positions))
        else:
            scores = self.score(x.mean(positions)) + self.score(x.amax(positions))
        return scores.sigmoid().reshape(*scores.shape, *[1] * len(positions))

    def score(self, summary: Tensor) -> Tensor:
        """The shared perceptron on one number a channel: (N, C) to (N, C)."""
        scores: Tensor = self.expand(self.act(self.reduce(summary)))
        return scores


class SpatialAttention(nn.Module):
    """A weight in (0, 1) for each position, from the maximum and mean over channels: (N, C, ...) to (N, 1, ...)."""

    def __init__(self, kernel: int = 7, dimensions: int = 2) -> None:
        super().__init__()
        conv = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[dimensions - 1]
        norm = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)[dimensions - 1]
        self.conv = conv(2, 1, kernel, padding=kernel // 2, bias=False)
        self.norm = norm(1, momentum=0.01)

    def forward(self, x: Tensor) -> Tensor:
        summary = torch.cat((x.amax(1, keepdim=True), x.mean(1, keepdim=True)), 1)
        weights: Tensor = self.norm(self.conv(summary)).sigmoid()
        return weights


class ConvBlockAttention(nn.Module):
    """Scales channels and positions in the given order; `hidden=None` or `kernel=None` leaves one of the two out."""

    def __init__(
        self,
        channels: int,
        hidden: int | None,
        kernel: int | None = 7,
        order: str = "channel-spatial",
        pools: str = "average+max",
        dimensions: int = 2,
    ) -> None:
        super().__init__()
        self.order = order
        self.channel = ChannelAttention(channels, hidden, pools) if hidden else None
        self.spatial = SpatialAttention(kernel, dimensions) if kernel else None

    def forward(self, x: Tensor) -> Tensor:
        factors = [factor for factor in (self.channel, self.spatial) if factor is not None]
        if self.order == "spatial-channel":
            factors.reverse()
        y = x
        for factor in factors:
            y = y * factor(x if self.order == "parallel" else y)
        return y


class CBAM(Gate):
    """x1 = x * sigmoid(mlp(mean x) + mlp(max x)), then x1 * sigmoid(BN(k * [max_c x1, mean_c x1])).

    The first factor weighs channels by their mean and maximum over all positions, both through one perceptron
    C -> R -> C with bias and ReLU, R = `ratio * C` to the nearest integer, at least 1. The second weighs positions by
    the maximum and mean over channels, in this order, through a convolution of extent `kernel` without bias. Takes one
    to three dimensions.

    Args:
        ratio: inner width over width; 1/16 in the paper. None leaves the first factor out.
        kernel: extent of the spatial convolution; None leaves the second factor out.
        order: which factor comes first; "parallel" computes both from x.
        pools: the summaries that the channel weights are made of.

    Woo et al., 2018, CBAM: Convolutional Block Attention Module.
    """

    paper: ClassVar[Paper] = Paper(
        title="CBAM: Convolutional Block Attention Module",
        authors="Sanghyun Woo, Jongchan Park, Joon-Young Lee, In So Kweon",
        year=2018,
        key="cbam",
    )

    ratio: Factor | None = 1 / 16
    kernel: Odd | None = 7
    order: Literal["channel-spatial", "spatial-channel", "parallel"] = "channel-spatial"
    pools: Literal["average", "max", "average+max"] = "average+max"

    def output(self, x: Feature) -> Feature:
        if not 1 <= len(x.size) <= 3:
            raise ShapeError(f"CBAM takes one to three dimensions, got {x}")
        if self.ratio is None and self.kernel is None:
            raise ShapeError("CBAM without ratio and kernel has no factor; use ratio=0.0625, kernel=7 or both")
        return x

    def build(self, x: Feature) -> nn.Module:
        channels = self.output(x).channels
        hidden = None if self.ratio is None else scaled(channels, self.ratio)
        return ConvBlockAttention(channels, hidden, self.kernel, self.order, self.pools, len(x.size))

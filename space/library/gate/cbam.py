"""Channel attention and spatial attention in turn."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from archfront.space.library.common import image, scaled
from archfront.space.spec import Factor, Gate, Odd, Paper
from archfront.space.types import Feature
from torch import Tensor, nn


class ChannelAttention(nn.Module):
    """A weight in (0, 1) for each channel: (N, C, H, W) to (N, C, 1, 1)."""

    def __init__(self, channels: int, hidden: int, pools: str = "average+max") -> None:
        super().__init__()
        self.pools = pools
        self.reduce = nn.Linear(channels, hidden)
        self.act = nn.ReLU()
        self.expand = nn.Linear(hidden, channels)

    def forward(self, x: Tensor) -> Tensor:
        if self.pools == "average":
            scores = self.score(x.mean((2, 3)))
        elif self.pools == "max":
            scores = self.score(x.amax((2, 3)))
        else:
            scores = self.score(x.mean((2, 3))) + self.score(x.amax((2, 3)))
        return scores.sigmoid()[:, :, None, None]

    def score(self, summary: Tensor) -> Tensor:
        """The shared perceptron on one number a channel: (N, C) to (N, C)."""
        scores: Tensor = self.expand(self.act(self.reduce(summary)))
        return scores


class SpatialAttention(nn.Module):
    """A weight in (0, 1) for each position, from the maximum and mean over channels: (N, C, H, W) to (N, 1, H, W)."""

    def __init__(self, kernel: int = 7) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 1, kernel, padding=kernel // 2, bias=False)
        self.norm = nn.BatchNorm2d(1)

    def forward(self, x: Tensor) -> Tensor:
        summary = torch.cat((x.amax(1, keepdim=True), x.mean(1, keepdim=True)), 1)
        weights: Tensor = self.norm(self.conv(summary)).sigmoid()
        return weights


class ConvBlockAttention(nn.Module):
    """Scales channels and positions in the given order; `kernel=None` scales channels only."""

    def __init__(
        self,
        channels: int,
        hidden: int,
        kernel: int | None = 7,
        order: str = "channel-spatial",
        pools: str = "average+max",
    ) -> None:
        super().__init__()
        self.order = order
        self.channel = ChannelAttention(channels, hidden, pools)
        self.spatial = SpatialAttention(kernel) if kernel else None

    def forward(self, x: Tensor) -> Tensor:
        if self.spatial is None:
            x = x * self.channel(x)
        elif self.order == "parallel":
            x = x * self.channel(x) * self.spatial(x)
        elif self.order == "spatial-channel":
            x = x * self.spatial(x)
            x = x * self.channel(x)
        else:
            x = x * self.channel(x)
            x = x * self.spatial(x)
        return x


class CBAM(Gate):
    """x1 = x * sigmoid(mlp(mean x) + mlp(max x)), then x1 * sigmoid(BN(k * [max_c x1, mean_c x1])).

    The first factor weighs channels by their mean and maximum over all positions, both through one perceptron
    C -> R -> C with bias and ReLU, R = `ratio * C` to the nearest integer, at least 1. The second weighs positions by
    the maximum and mean over channels, in this order, through a `kernel` x `kernel` convolution without bias.

    Args:
        ratio: inner width over width; 1/16 in the paper.
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

    ratio: Factor = 1 / 16
    kernel: Odd | None = 7
    order: Literal["channel-spatial", "spatial-channel", "parallel"] = "channel-spatial"
    pools: Literal["average", "max", "average+max"] = "average+max"

    def output(self, x: Feature) -> Feature:
        return image(self, x)

    def build(self, x: Feature) -> nn.Module:
        channels = image(self, x).channels
        return ConvBlockAttention(channels, scaled(channels, self.ratio), self.kernel, self.order, self.pools)

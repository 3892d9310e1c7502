"""Gated aggregation of depthwise convolutions of several orders."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar

import torch
from torch import Tensor, nn

from archfront.space.errors import ShapeError
from archfront.space.library.common import image
from archfront.space.library.layers import LayerScale
from archfront.space.spec import Mixer, NonNegative, Odd, Paper, Positive, Rule
from archfront.space.types import Feature

Split = Annotated[
    tuple[NonNegative, NonNegative, Positive],
    Rule("three shares (low, middle, high), the last one positive", lambda v: len(v) == 3),
]


def dilated_depthwise(channels: int, kernel: int, dilation: int) -> nn.Conv2d:
    """A "same"-padded depthwise convolution with bias."""
    padding = dilation * (kernel // 2)
    return nn.Conv2d(channels, channels, kernel, padding=padding, dilation=dilation, groups=channels)


class MultiOrderConv(nn.Module):
    """A depthwise convolution, dilated ones on the middle and last channels of its result, and a 1x1 convolution."""

    def __init__(
        self,
        low: int,
        middle: int,
        high: int,
        kernels: tuple[int, int, int] = (5, 5, 7),
        dilations: tuple[int, int, int] = (1, 2, 3),
    ) -> None:
        super().__init__()
        self.low = low
        self.ahead = low + middle
        channels = low + middle + high
        unit = math.gcd(low, middle, high)
        self.fused_outputs = {"base": channels // unit, "middle": middle // unit, "high": high // unit}
        self.fused_inputs = {"project": channels // unit}
        self.base = dilated_depthwise(channels, kernels[0], dilations[0])
        self.middle = dilated_depthwise(middle, kernels[1], dilations[1]) if middle else None
        self.high = dilated_depthwise(high, kernels[2], dilations[2])
        self.project = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.base(x)
        orders = [self.high(x[:, self.ahead :])]
        if self.middle is not None:
            orders.insert(0, self.middle(x[:, self.low : self.ahead]))
        if self.low:
            orders.insert(0, x[:, : self.low])
        y: Tensor = self.project(torch.cat(orders, 1))
        return y


class MultiOrderGatedAggregation(nn.Module):
    """A 1x1 convolution, the share of each channel's mean rescaled, gates times multi-order values, and the input added."""

    def __init__(self, channels: int, values: nn.Module, segments: int = 1) -> None:
        super().__init__()
        self.fused_outputs = {"enter": segments, "decompose": segments}
        self.fused_inputs = {"gate": segments}
        self.enter = nn.Conv2d(channels, channels, 1)
        self.decompose = LayerScale(channels, 1e-5)
        self.gate = nn.Conv2d(channels, channels, 1)
        self.values = values
        self.leave = nn.Conv2d(channels, channels, 1)
        self.act = nn.SiLU()

    def forward(self, x: Tensor) -> Tensor:
        features = self.enter(x)
        features = self.act(features + self.decompose(features - features.mean((2, 3), keepdim=True)))
        y: Tensor = self.leave(self.act(self.gate(features)) * self.act(self.values(features)))
        return y + x


class MultiOrderAggregation(Mixer):
    """x + P2(silu(G u) * silu(V u)) with u = silu(z + s (z - mean z)) and z = P1 x: what MogaNet mixes positions with.

    P1, P2, G are 1x1 convolutions with bias, the mean is over positions, s is a learnt factor a channel that starts at
    1e-5. V convolves u depthwise with `kernels[0]`, then of the result the middle channels with `kernels[1]` and the
    last ones with `kernels[2]`, all with bias; a 1x1 convolution follows. The shares of channels are those of `split`,
    whose sum must divide the width. The x that is added is this mixer's own input, behind the norm of its host;
    `MetaFormer(mixer=MultiOrderAggregation(), channel_mixer=ChannelAggregation(), norm="batch", layer_scale=1e-5)`
    is MogaNet's block.

    Args:
        split: shares of channels of low, middle and high order.
        kernels: extents of the three depthwise convolutions.
        dilations: distances between their taps.

    Li et al., 2022, Efficient Multi-order Gated Aggregation Network; in print 2024 as MogaNet: Multi-order Gated
    Aggregation Network.
    """

    paper: ClassVar[Paper] = Paper(
        title="Efficient Multi-order Gated Aggregation Network",
        authors="Siyuan Li, Zedong Wang, Zicheng Liu, Cheng Tan, Haitao Lin, Di Wu, Zhiyuan Chen, Jiangbin Zheng, "
        "Stan Z. Li",
        year=2022,
        key="moganet",
    )

    split: Split = (1, 3, 4)
    kernels: tuple[Odd, Odd, Odd] = (5, 5, 7)
    dilations: tuple[Positive, Positive, Positive] = (1, 2, 3)

    def output(self, x: Feature) -> Feature:
        total = sum(self.split)
        if image(self, x).channels % total:
            raise ShapeError(
                f"split {self.split} does not divide {x.channels} channels; use a multiple of {total} channels, "
                f"such as {-(-x.channels // total) * total}"
            )
        return x

    def build(self, x: Feature) -> nn.Module:
        share = self.output(x).channels // sum(self.split)
        low, middle, high = (share * n for n in self.split)
        values = MultiOrderConv(low, middle, high, self.kernels, self.dilations)
        return MultiOrderGatedAggregation(x.channels, values, sum(self.split) // math.gcd(*self.split))

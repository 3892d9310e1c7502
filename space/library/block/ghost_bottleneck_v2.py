"""Ghost bottleneck with attention along rows and columns."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch.nn.functional as F
from torch import Tensor, nn

from archfront.space.errors import ShapeError
from archfront.space.library.block.ghost_bottleneck import GhostBottleneck, GhostBottleneckBlock
from archfront.space.spec import Odd, Paper, Positive
from archfront.space.types import Feature


class DecoupledAttention(nn.Module):
    """A weight in (0, 1) for every channel and position: (N, in, H, W) to (N, out, H, W).

    A 1x1 convolution on a pooled map, then depthwise convolutions along rows and along columns, each with batch norm.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel: int = 5, pool: int = 2) -> None:
        super().__init__()
        self.pool = nn.AvgPool2d(pool, pool) if pool > 1 else nn.Identity()
        self.mix = nn.Conv2d(in_channels, out_channels, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(out_channels)
        self.rows = nn.Conv2d(
            out_channels, out_channels, (1, kernel), padding=(0, kernel // 2), groups=out_channels, bias=False
        )
        self.norm2 = nn.BatchNorm2d(out_channels)
        self.columns = nn.Conv2d(
            out_channels, out_channels, (kernel, 1), padding=(kernel // 2, 0), groups=out_channels, bias=False
        )
        self.norm3 = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm1(self.mix(self.pool(x)))
        y = self.norm3(self.columns(self.norm2(self.rows(y)))).sigmoid()
        return F.interpolate(y, size=x.shape[-2:], mode="nearest")


class GhostBottleneckV2Block(GhostBottleneckBlock):
    """A ghost bottleneck whose ghost modules are multiplied by attention computed from their inputs."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        hidden: int,
        kernel: int = 3,
        stride: int = 1,
        ratio: int = 2,
        cheap_kernel: int = 3,
        primary_kernel: int = 1,
        activation: str = "relu",
        gate: nn.Module | None = None,
        drop_path: float = 0.0,
        attention: str = "expand",
        attention_kernel: int = 5,
        attention_pool: int = 2,
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            hidden,
            kernel,
            stride,
            ratio,
            cheap_kernel,
            primary_kernel,
            activation,
            gate,
            drop_path,
        )
        first, second = attention in ("expand", "both"), attention in ("project", "both")
        size = (attention_kernel, attention_pool)
        self.expand_attention = DecoupledAttention(in_channels, hidden, *size) if first else None
        self.project_attention = DecoupledAttention(hidden, out_channels, *size) if second else None

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.expand(x)
        if self.expand_attention is not None:
            hidden = hidden * self.expand_attention(x)
        hidden = self.gate(self.reduce(hidden))
        y = self.project(hidden)
        if self.project_attention is not None:
            y = y * self.project_attention(hidden)
        output: Tensor = self.shortcut(x) + self.drop_path(y)
        return output


class GhostBottleneckV2(GhostBottleneck):
    """S x + G2 gate(BN(D (G1 x * A x))): a ghost bottleneck with decoupled fully connected attention A.

    A x = up(sigmoid(BN(V BN(H BN(W pool(x)))))): means over tiles, a 1x1 convolution W to the hidden width, depthwise
    convolutions H along rows and V along columns, and the nearest weight for every position of the full map. A thus
    reaches far at little cost, where ghost modules see 3x3 positions. It is computed from the input of the ghost
    module that it multiplies. Everything else is as in `GhostBottleneck`, whose fields these are too.

    Args:
        attention: which ghost modules are multiplied by attention: the widening one in the paper.
        attention_kernel: extent of H and V.
        attention_pool: extent of the tiles; the last row or column of an odd map is left out of them.

    Tang et al., 2022, GhostNetV2: Enhance Cheap Operation with Long-Range Attention.
    """

    paper: ClassVar[Paper] = Paper(
        title="GhostNetV2: Enhance Cheap Operation with Long-Range Attention",
        authors="Yehui Tang, Kai Han, Jianyuan Guo, Chang Xu, Chao Xu, Yunhe Wang",
        year=2022,
        key="ghostnet_v2",
    )

    attention: Literal["none", "expand", "project", "both"] = "expand"
    attention_kernel: Odd = 5
    attention_pool: Positive = 2

    def output(self, x: Feature) -> Feature:
        y = super().output(x)
        pooled = {"none": (), "expand": (x,), "project": (y,), "both": (x, y)}[self.attention]
        smallest = min((n for feature in pooled for n in feature.size), default=self.attention_pool)
        if smallest < self.attention_pool:
            raise ShapeError(
                f"attention_pool {self.attention_pool} is larger than the map at {x} and stride {self.stride}; "
                f"use at most {smallest}"
            )
        return y

    def build(self, x: Feature) -> nn.Module:
        hidden = self._hidden(x)
        return GhostBottleneckV2Block(
            x.channels,
            self.output(x).channels,
            hidden.channels,
            self.kernel,
            self.stride,
            self.ratio,
            self.cheap_kernel,
            self.primary_kernel,
            self.activation,
            None if self.gate is None else self.gate.build(hidden),
            self.drop_path,
            self.attention,
            self.attention_kernel,
            self.attention_pool,
        )

"""Self-attention whose keys and values come from a smaller map."""

from __future__ import annotations

from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from archfront.space.errors import ShapeError
from archfront.space.library.common import head_count, image
from archfront.space.library.layers import LayerNorm2d
from archfront.space.spec import Mixer, Paper, Positive
from archfront.space.types import Feature


class StridedReduction(nn.Sequential):
    """A convolution of tiles of `ratio` x `ratio` positions, then layer norm."""

    def __init__(self, channels: int, ratio: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, ratio, ratio)
        self.norm = LayerNorm2d(channels)


class PooledReduction(nn.Sequential):
    """Averages over a fixed number of regions, a 1x1 convolution, layer norm, GELU."""

    def __init__(self, channels: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(size)
        self.conv = nn.Conv2d(channels, channels, 1)
        self.norm = LayerNorm2d(channels)
        self.act = nn.GELU()


class ReducedSelfAttention(nn.Module):
    """Every position of a feature map (N, C, H, W) attends to the positions of the map that `reduction` makes of it."""

    fused_outputs: ClassVar[dict[str, int]] = {"key_value": 2}

    def __init__(self, channels: int, heads: int, reduction: nn.Module | None = None) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Conv2d(channels, channels, 1)
        self.reduction = nn.Identity() if reduction is None else reduction
        self.key_value = nn.Conv2d(channels, 2 * channels, 1)
        self.project = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        # head dim innermost: the CPU's fused attention takes no other layout, and falls back to L x L matrices
        query = self.query(x).flatten(2).unflatten(1, (self.heads, -1)).transpose(-1, -2).contiguous()
        key_value = self.key_value(self.reduction(x)).flatten(2).unflatten(1, (2, self.heads, -1))
        key, value = key_value.transpose(-1, -2).contiguous().unbind(1)
        mixed = F.scaled_dot_product_attention(query, key, value)
        y: Tensor = self.project(mixed.transpose(-1, -2).reshape(x.shape))
        return y


class SpatialReductionAttention(Mixer):
    """softmax(Q K^T / sqrt(d)) V in each head, then a projection; keys and values from a reduced map of M positions.

    Q, K, V and the projection are linear maps of the channels with bias; d = C / heads. The reduced map is the layer
    norm of a convolution with bias of tiles of `ratio` x `ratio` positions (positions left over at the right and bottom
    border are not read); with `ratio=1` it is the map itself. With `pool` it is instead the GELU of the layer norm of a
    1x1 convolution with bias of the averages over `pool` x `pool` regions (as many as there are positions at most), so
    that cost grows linearly with the map.

    Multiply-adds for N positions and M reduced ones: 2 N C^2 + 2 M C^2 + 2 N M C, and `ratio`^2 M C^2 for the tiles.

    Args:
        ratio: extent of the tiles; at most the extent of the map.
        pool: regions along each direction; None takes tiles.
        head_dim: channels of a head; divides the width. 64 in PVT.
        heads: number of heads; None takes as many as `head_dim` says.

    Wang et al., 2021, Pyramid Vision Transformer: A Versatile Backbone for Dense Prediction without Convolutions;
    `pool` from Wang et al., 2022, PVT v2: Improved Baselines with Pyramid Vision Transformer.
    """

    paper: ClassVar[Paper] = Paper(
        title="Pyramid Vision Transformer: A Versatile Backbone for Dense Prediction without Convolutions",
        authors="Wenhai Wang, Enze Xie, Xiang Li, Deng-Ping Fan, Kaitao Song, Ding Liang, Tong Lu, Ping Luo, Ling Shao",
        year=2021,
        key="pvt_v1",
    )

    ratio: Positive = 2
    pool: Positive | None = None
    head_dim: Positive = 16
    heads: Positive | None = None

    def output(self, x: Feature) -> Feature:
        head_count(image(self, x).channels, self.heads, self.head_dim)
        if self.pool is None and self.ratio > min(x.size):
            extent = "x".join(map(str, x.size))
            raise ShapeError(f"ratio {self.ratio} is larger than the map {extent}; use at most {min(x.size)}, or pool")
        return x

    def build(self, x: Feature) -> nn.Module:
        channels = self.output(x).channels
        return ReducedSelfAttention(channels, head_count(channels, self.heads, self.head_dim), self._reduction(x))

    def _reduction(self, x: Feature) -> nn.Module | None:
        if self.pool is not None:
            height, width = (min(self.pool, n) for n in x.size)
            return PooledReduction(x.channels, (height, width))
        return StridedReduction(x.channels, self.ratio) if self.ratio > 1 else None

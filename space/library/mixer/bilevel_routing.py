"""Attention inside a few regions that each region chooses for itself."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archfront.space.errors import ShapeError
from archfront.space.library.common import divisors, head_count, image, listed
from archfront.space.spec import Mixer, Odd, Paper, Positive
from archfront.space.types import Feature


class BiLevelRoutingAttention(nn.Module):
    """The positions of each of regions x regions regions attend to the positions of the `chosen` regions most like it.

    Where the regions do not divide the map it is filled up with zeros at the right and bottom.
    """

    fused_outputs: ClassVar[dict[str, int]] = {"qkv": 3}

    def __init__(
        self,
        channels: int,
        heads: int,
        regions: int = 7,
        chosen: int = 4,
        kernel: int | None = 5,
        scale: float | None = None,
    ) -> None:
        super().__init__()
        self.heads = heads
        self.regions = regions
        self.chosen = chosen
        self.scale = scale
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.local = nn.Conv2d(channels, channels, kernel, padding=kernel // 2, groups=channels) if kernel else None
        self.project = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        qkv = self.qkv(F.pad(x, (0, -width % self.regions, 0, -height % self.regions)))
        query, key, value = self.split(qkv)
        routes = self.routes(query, key)
        key, value = self.gathered(key, routes), self.gathered(value, routes)
        mixed = F.scaled_dot_product_attention(query.flatten(0, 1), key, value, scale=self.scale)
        y = self.merge(mixed, qkv)
        if self.local is not None:
            y = y + self.local(qkv.chunk(3, 1)[2])
        out: Tensor = self.project(y)[:, :, :height, :width]
        return out

    def split(self, qkv: Tensor) -> tuple[Tensor, ...]:
        """Queries, keys and values by region: (N, 3 C, H, W) to three times (N, S, heads, L, C / heads)."""
        tall, wide = qkv.shape[2] // self.regions, qkv.shape[3] // self.regions
        qkv = qkv.reshape(qkv.shape[0], 3, self.heads, -1, self.regions, tall, self.regions, wide)
        return qkv.permute(1, 0, 4, 6, 2, 5, 7, 3).flatten(5, 6).flatten(2, 3).unbind(0)

    def routes(self, query: Tensor, key: Tensor) -> Tensor:
        """The regions that each region attends to, by the product of mean query and mean key: (N, S, chosen)."""
        affinity = query.detach().mean(3).flatten(2) @ key.detach().mean(3).flatten(2).transpose(1, 2)
        return affinity.topk(self.chosen, -1).indices

    def gathered(self, tokens: Tensor, routes: Tensor) -> Tensor:
        """What each region attends to: (N, S, heads, L, d) to (N S, heads, chosen L, d)."""
        first = tokens.shape[1] * torch.arange(tokens.shape[0], device=tokens.device)
        rows = (routes + first[:, None, None]).flatten()
        picked = tokens.flatten(0, 1).index_select(0, rows)
        return picked.reshape(-1, self.chosen, *tokens.shape[2:]).transpose(1, 2).flatten(2, 3)

    def merge(self, mixed: Tensor, qkv: Tensor) -> Tensor:
        """The inverse of `split` for one map: (N S, heads, L, C / heads) to (N, C, H, W)."""
        images, channels, height, width = qkv.shape
        tall, wide = height // self.regions, width // self.regions
        mixed = mixed.reshape(images, self.regions, self.regions, self.heads, tall, wide, -1)
        return mixed.permute(0, 3, 6, 1, 4, 2, 5).reshape(images, channels // 3, height, width)


class BiLevelRouting(Mixer):
    """W (softmax(Q K_r^T s) V_r + D V): each of `regions` x `regions` regions attends to the `topk` regions r it chooses.

    A region chooses those whose mean key has the largest product with its mean query; the choice is the same for all
    heads and has no gradient. Q, K and V are linear with bias, D is a depthwise convolution with bias. The number of
    regions is fixed, so on a larger map each holds more positions. Cost: 3 HW C^2 + 2 S^2 C + 2 k (HW)^2 C / S + HW C^2
    for S = regions^2, k = topk.

    Args:
        regions: number of regions along each direction.
        topk: regions that one attends to, at most regions^2; None attends to all positions.
        head_dim: channels of a head; divides the width.
        heads: number of heads; None takes as many as `head_dim` says.
        kernel: extent of D; None leaves D out.
        scale: s is C^-0.5 ("width", as released) or (C / heads)^-0.5 ("head").
        pad: fill the map up with zeros at the right and bottom where the regions do not divide it; the zeros can be
            attended to, as in the authors' code. Without it such a map is an error.

    Zhu et al., 2023, BiFormer: Vision Transformer with Bi-Level Routing Attention.
    """

    paper: ClassVar[Paper] = Paper(
        title="BiFormer: Vision Transformer with Bi-Level Routing Attention",
        authors="Lei Zhu, Xinjiang Wang, Zhanghan Ke, Wayne Zhang, Rynson W. H. Lau",
        year=2023,
        key="biformer",
    )

    regions: Positive = 7
    topk: Positive | None = 4
    head_dim: Positive = 16
    heads: Positive | None = None
    kernel: Odd | None = 5
    scale: Literal["width", "head"] = "width"
    pad: bool = True

    def output(self, x: Feature) -> Feature:
        height, width = image(self, x).size
        head_count(x.channels, self.heads, self.head_dim)
        if self.topk is not None and self.topk > self.regions**2:
            raise ShapeError(f"topk {self.topk} exceeds the {self.regions**2} regions; use at most {self.regions**2}")
        if not self.pad and self.topk is not None and (height % self.regions or width % self.regions):
            fits = [n for n in divisors(height) if width % n == 0]
            raise ShapeError(f"{self.regions} regions do not divide {height}x{width}; use {listed(fits)}, or pad=True")
        return x

    def build(self, x: Feature) -> nn.Module:
        channels = self.output(x).channels
        heads = head_count(channels, self.heads, self.head_dim)
        regions, chosen = (1, 1) if self.topk is None else (self.regions, self.topk)
        scale = (channels if self.scale == "width" else channels // heads) ** -0.5
        return BiLevelRoutingAttention(channels, heads, regions, chosen, self.kernel, scale)

"""Self-attention of blocks of positions to their surroundings."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archfront.space.library.common import head_count, image
from archfront.space.spec import Mixer, NonNegative, Paper, Positive
from archfront.space.types import Feature


def surroundings(x: Tensor, block: int, halo: int) -> Tensor:
    """Every block of a map (N, C, H, W) with `halo` positions around it: (N blocks, L, C), L = (block + 2 halo)^2."""
    extent = block + 2 * halo
    windows = F.pad(x, (halo, halo, halo, halo)).unfold(2, extent, block).unfold(3, extent, block)
    return windows.permute(0, 2, 3, 4, 5, 1).flatten(3, 4).flatten(0, 2)


class HaloSelfAttention(nn.Module):
    """Each block of positions of a map attends to itself and what lies around it, with a bias that depends on the query.

    Its two parts along rows and columns are the products of the query with a learnt vector for each offset.
    """

    fused_outputs: ClassVar[dict[str, int]] = {"key_value": 2}

    offsets: Tensor
    outside: Tensor

    def __init__(self, channels: int, heads: int, block: int, halo: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.heads = heads
        self.head_dim = channels // heads
        self.block = block
        self.halo = halo
        self.size = size
        self.counts = (-(-size[0] // block), -(-size[1] // block))
        self.padding = (self.counts[0] * block - size[0], self.counts[1] * block - size[1])
        extent = block + 2 * halo
        self.query = nn.Conv2d(channels, channels, 1, bias=False)
        self.key_value = nn.Conv2d(channels, 2 * channels, 1, bias=False)
        self.project = nn.Conv2d(channels, channels, 1)
        self.vertical = nn.Parameter(torch.randn(1, self.head_dim, 2 * extent - 1) * self.head_dim**-0.5)
        self.horizontal = nn.Parameter(torch.randn(1, self.head_dim, 2 * extent - 1) * self.head_dim**-0.5)
        offsets = torch.arange(extent)[None, :] - torch.arange(block)[:, None] - halo + extent - 1
        self.register_buffer("offsets", offsets, persistent=False)
        inside = surroundings(self.padded(torch.ones(1, 1, *size)), block, halo)
        outside = torch.zeros(()).where(inside > 0, float("-inf")).transpose(1, 2)[:, None]
        self.register_buffer("outside", outside, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        query = self.blocks(self.padded(self.query(x)))
        near = surroundings(self.padded(self.key_value(x)), self.block, self.halo)
        key, value = near.reshape(*near.shape[:2], 2, self.heads, self.head_dim).permute(2, 0, 3, 1, 4).unbind(0)
        bias = self.bias(query) + self.outside.repeat(x.shape[0], 1, 1, 1)
        mixed = F.scaled_dot_product_attention(query.flatten(2, 3), key, value, attn_mask=bias)
        y: Tensor = self.project(self.merged(mixed))
        return y

    def padded(self, x: Tensor) -> Tensor:
        """A map filled up with zeros at the right and bottom to whole blocks."""
        return F.pad(x, (0, self.padding[1], 0, self.padding[0]))

    def blocks(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N blocks, heads, block, block, C / heads)."""
        rows, columns = self.counts
        x = x.reshape(-1, self.heads, self.head_dim, rows, self.block, columns, self.block)
        return x.permute(0, 3, 5, 1, 4, 6, 2).flatten(0, 2)

    def merged(self, x: Tensor) -> Tensor:
        """(N blocks, heads, block^2, C / heads) to (N, C, H, W), the inverse of `blocks`."""
        x = x.reshape(-1, *self.counts, self.heads, self.block, self.block, self.head_dim)
        x = x.permute(0, 3, 6, 1, 4, 2, 5).flatten(5, 6).flatten(3, 4).flatten(1, 2)
        return x[:, :, : self.size[0], : self.size[1]]

    def bias(self, query: Tensor) -> Tensor:
        """The bias of every query (B, heads, block, block, d) for all L keys: (B, heads, block^2, L)."""
        down = self.along(query.transpose(2, 3), self.vertical[0]).transpose(2, 3)
        right = self.along(query, self.horizontal[0])
        return (down[..., :, None] + right[..., None, :]).flatten(4, 5).flatten(2, 3)

    def along(self, query: Tensor, vectors: Tensor) -> Tensor:
        """Products of queries (..., block, d) with the vectors of their offsets to each key: (..., block, extent)."""
        positions = torch.arange(self.block, device=query.device)[:, None]
        return (query @ vectors)[..., positions, self.offsets]


class HaloAttention(Mixer):
    """softmax(Q K^T / sqrt(d) + B) V in each head, Q of a block of positions, K and V of it and of `halo` around it.

    B for a query q and a key that lies i rows and j columns away is q r_i + q s_j with learnt vectors r and s that all
    heads share. Q, K and V are linear maps of the channels without bias, the projection behind them has one. What lies
    outside the map is masked out; where the block does not divide the map, the map is padded at the right and bottom.
    A block larger than the map becomes the map's larger extent. The module fits the one map size that it was built for.

    Multiply-adds for N positions, L = (`block` + 2 `halo`)^2 keys a block: 4 N C^2 + 2 N L C + 2 N (2 sqrt(L) - 1) C.

    Args:
        block: extent of the blocks.
        halo: positions around a block that it attends to besides.
        head_dim: channels of a head; divides the width.
        heads: number of heads; None takes as many as `head_dim` says.

    Vaswani et al., 2021, Scaling Local Self-Attention for Parameter Efficient Visual Backbones; masked as in Hu et al.,
    2025, Demystify Transformers & Convolutions in Modern Image Deep Networks.
    """

    paper: ClassVar[Paper] = Paper(
        title="Scaling Local Self-Attention for Parameter Efficient Visual Backbones",
        authors="Ashish Vaswani, Prajit Ramachandran, Aravind Srinivas, Niki Parmar, Blake Hechtman, Jonathon Shlens",
        year=2021,
    )

    block: Positive = 7
    halo: NonNegative = 3
    head_dim: Positive = 16
    heads: Positive | None = None

    def output(self, x: Feature) -> Feature:
        head_count(image(self, x).channels, self.heads, self.head_dim)
        return x

    def build(self, x: Feature) -> nn.Module:
        height, width = self.output(x).size
        heads = head_count(x.channels, self.heads, self.head_dim)
        return HaloSelfAttention(x.channels, heads, min(self.block, max(height, width)), self.halo, (height, width))

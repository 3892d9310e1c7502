"""Self-attention over all positions with a bias for the offset between them."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archfront.space.library.common import head_count, image
from archfront.space.spec import Mixer, Paper, Positive
from archfront.space.types import Feature


def offset_indices(size: tuple[int, int]) -> Tensor:
    """For every pair of positions of a map the index of their offset among the (2 H - 1) (2 W - 1) offsets."""
    height, width = size
    positions = torch.arange(height * width)
    rows, columns = positions // width, positions % width
    down = rows[None, :] - rows[:, None] + height - 1
    right = columns[None, :] - columns[:, None] + width - 1
    return down * (2 * width - 1) + right


class RelativeBiasSelfAttention(nn.Module):
    """Every position of a map of one size attends to every position, with a learnt bias for each head and offset.

    The table of biases is made for a map of `grid` positions and resized to the offsets of this map where it differs.
    """

    fused_outputs: ClassVar[dict[str, int]] = {"qkv": 3}

    offsets: Tensor

    def __init__(self, channels: int, heads: int, size: tuple[int, int], grid: tuple[int, int]) -> None:
        super().__init__()
        self.heads = heads
        self.resized = None if grid == size else (2 * size[0] - 1, 2 * size[1] - 1)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.project = nn.Conv2d(channels, channels, 1)
        self.table = nn.Parameter(torch.empty(heads, 1, 2 * grid[0] - 1, 2 * grid[1] - 1))
        nn.init.trunc_normal_(self.table, std=0.02)
        self.register_buffer("offsets", offset_indices(size), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        heads = self.qkv(x).flatten(2).unflatten(1, (3, self.heads, -1)).transpose(-1, -2)
        # head dim innermost: the CPU's fused attention takes no other layout, and falls back to L x L matrices
        query, key, value = heads.contiguous().unbind(1)
        table: Tensor = self.table
        if self.resized is not None:
            table = F.interpolate(table, size=self.resized, mode="bilinear", align_corners=False)
        bias = table.flatten(1).index_select(1, self.offsets.flatten()).reshape(1, -1, *self.offsets.shape)
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        y: Tensor = self.project(mixed.transpose(-1, -2).reshape(x.shape))
        return y


class RelativeBiasAttention(Mixer):
    """softmax(Q K^T / sqrt(d) + B) V in each head over all positions, then a projection.

    Q, K, V and the projection are linear maps of the channels with bias; d = C / heads. B holds one learnt number a head
    for each offset between two positions of a `grid` x `grid` map: a table of 2 `grid` - 1 numbers along each direction,
    resized bilinearly to the offsets of the map where that is of another size. The module fits the one map size that it
    was built for; networks for different images have equal parameters where the grid is given.

    Args:
        grid: extent of the map that the table is made for; None takes the map's own two extents.
        head_dim: channels of a head; divides the width. 32 in the paper.
        heads: number of heads; None takes as many as `head_dim` says.

    Dai et al., 2021, CoAtNet: Marrying Convolution and Attention for All Data Sizes; resized as in Yang et al., 2023,
    MOAT: Alternating Mobile Convolution and Attention Brings Strong Vision Models.
    """

    paper: ClassVar[Paper] = Paper(
        title="CoAtNet: Marrying Convolution and Attention for All Data Sizes",
        authors="Zihang Dai, Hanxiao Liu, Quoc V. Le, Mingxing Tan",
        year=2021,
    )

    grid: Positive | None = None
    head_dim: Positive = 16
    heads: Positive | None = None

    def output(self, x: Feature) -> Feature:
        head_count(image(self, x).channels, self.heads, self.head_dim)
        return x

    def build(self, x: Feature) -> nn.Module:
        height, width = self.output(x).size
        grid = (self.grid, self.grid) if self.grid else (height, width)
        heads = head_count(x.channels, self.heads, self.head_dim)
        return RelativeBiasSelfAttention(x.channels, heads, (height, width), grid)

"""Self-attention inside windows or inside grids that span the map."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archfront.space.library.common import head_count, image
from archfront.space.library.layers_partition import Partition, in_heads, masked, out_of_heads
from archfront.space.library.mixer.window_attention import relative_positions
from archfront.space.spec import Mixer, Paper, Positive
from archfront.space.types import Feature


class OffsetTable(nn.Module):
    """A learnt bias for every head and every offset between two positions: (1, heads, L, L), L = extent^2."""

    offsets: Tensor

    def __init__(self, heads: int, extent: int) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.empty(heads, 1, 2 * extent - 1, 2 * extent - 1))
        nn.init.trunc_normal_(self.table, std=0.02)
        self.register_buffer("offsets", relative_positions(extent), persistent=False)

    def forward(self) -> Tensor:
        return self.table.flatten(1)[:, self.offsets][None]


class OffsetMLP(nn.Module):
    """The bias as a small perceptron of the logarithm of the offset, so that it does not depend on the extent."""

    offsets: Tensor
    coordinates: Tensor

    def __init__(self, heads: int, extent: int, hidden: int = 512) -> None:
        super().__init__()
        self.expand = nn.Linear(2, hidden)
        self.project = nn.Linear(hidden, heads)
        steps = torch.arange(1.0 - extent, extent)
        steps = steps.sign() * (1 + steps.abs()).log()
        grid = torch.stack(torch.meshgrid(steps, steps, indexing="ij"), -1).flatten(0, 1)
        self.register_buffer("coordinates", grid, persistent=False)
        self.register_buffer("offsets", relative_positions(extent), persistent=False)

    def forward(self) -> Tensor:
        bias: Tensor = self.project(self.expand(self.coordinates).relu())
        return bias.T[:, self.offsets][None]


class NoOffset(nn.Module):
    """No bias: zeros of shape (1, 1, 1, 1)."""

    zero: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("zero", torch.zeros(1, 1, 1, 1), persistent=False)

    def forward(self) -> Tensor:
        return self.zero


def make_position(kind: str, heads: int, extent: int) -> nn.Module:
    """The module called `kind` that yields the bias of attention."""
    if kind == "none":
        return NoOffset()
    return OffsetTable(heads, extent) if kind == "table" else OffsetMLP(heads, extent)


class PartitionSelfAttention(nn.Module):
    """Multi-head self-attention inside the groups of a partition of a map (N, C, H, W)."""

    fused_outputs: ClassVar[dict[str, int]] = {"qkv": 3}

    def __init__(self, channels: int, heads: int, partition: Partition, position: nn.Module) -> None:
        super().__init__()
        self.heads = heads
        self.partition = partition
        self.position = position
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.project = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        groups = self.partition.split(self.qkv(x))
        query, key, value = (in_heads(part, self.heads) for part in groups.chunk(3, 2))
        bias = masked(self.position(), self.partition.mask, x.shape[0])
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        y: Tensor = self.project(self.partition.merge(out_of_heads(mixed)))
        return y


class PartitionAttention(Mixer):
    """softmax(Q K^T / sqrt(d) + B) V in each head inside groups of `extent` x `extent` positions, then a projection.

    "window" groups are neighbours. "grid" groups lie at one offset inside tiles of H / extent x W / extent positions, so
    that each spans the map, sparsely; attention in windows and then in grids reaches every position from every other.
    Where the extent does not divide the map, the map is padded at the right and bottom, and padding is masked out; an
    extent larger than the map becomes the map's larger extent. The module fits the one map size that it was built for.

    Args:
        partition: "window" or "grid".
        extent: of the groups.
        head_dim: channels of a head; divides the width.
        heads: number of heads; None takes as many as `head_dim` says.
        position: B is a learnt "table" of one number a head and offset, an "mlp" of the logarithm of the offset, or
            "none".

    Tu et al., 2022, MaxViT: Multi-Axis Vision Transformer; the perceptron from Liu et al., 2022, Swin Transformer V2:
    Scaling Up Capacity and Resolution.
    """

    paper: ClassVar[Paper] = Paper(
        title="MaxViT: Multi-Axis Vision Transformer",
        authors="Zhengzhong Tu, Hossein Talebi, Han Zhang, Feng Yang, Peyman Milanfar, Alan Bovik, Yinxiao Li",
        year=2022,
        key="maxvit",
    )

    partition: Literal["window", "grid"] = "grid"
    extent: Positive = 7
    head_dim: Positive = 16
    heads: Positive | None = None
    position: Literal["table", "mlp", "none"] = "table"

    def output(self, x: Feature) -> Feature:
        head_count(image(self, x).channels, self.heads, self.head_dim)
        return x

    def build(self, x: Feature) -> nn.Module:
        height, width = image(self, x).size
        extent = min(self.extent, max(height, width))
        heads = head_count(x.channels, self.heads, self.head_dim)
        partition = Partition((height, width), extent, self.partition == "grid")
        return PartitionSelfAttention(x.channels, heads, partition, make_position(self.position, heads, extent))

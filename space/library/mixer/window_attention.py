"""Self-attention inside windows."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archfront.space.library.common import head_count, image
from archfront.space.spec import Mixer, Paper, Positive
from archfront.space.types import Feature


def relative_positions(window: int) -> Tensor:
    """For each pair of positions in a window, the index of their offset among the (2 window - 1)^2 offsets."""
    rows, columns = torch.arange(window**2) // window, torch.arange(window**2) % window
    down = rows[None, :] - rows[:, None] + window - 1
    right = columns[None, :] - columns[:, None] + window - 1
    return down * (2 * window - 1) + right


def separated(size: tuple[int, int], window: int, shift: tuple[int, int]) -> Tensor:
    """0 where two positions of a window may attend to each other and -inf where not: (windows, 1, L, L), L = window^2.

    In a padded and shifted map three kinds of position meet in a window: those of the map, padding, and those that the
    cyclic shift brought round from the opposite side. A position attends to its own kind only: padding touches
    nothing of the map, and every position has at least itself to attend to.
    """
    height, width = (-(-n // window) * window for n in size)
    rows, columns = torch.arange(height).roll(-shift[0]), torch.arange(width).roll(-shift[1])
    padding = (rows >= size[0])[:, None] | (columns >= size[1])[None, :]
    around = 2 * (rows < shift[0]).long()[:, None] + (columns < shift[1]).long()[None, :]
    kind = around.masked_fill(padding, 4).reshape(height // window, window, width // window, window)
    kind = kind.transpose(1, 2).reshape(-1, 1, window**2)
    return torch.zeros(()).where(kind[:, :, :, None] == kind[:, :, None, :], float("-inf"))


class WindowSelfAttention(nn.Module):
    """Attention inside windows of a map (N, C, *size), with a learnt bias for each offset between two positions.

    `shift` moves the windows down and right by so many positions.
    """

    fused_outputs: ClassVar[dict[str, int]] = {"qkv": 3}

    offsets: Tensor
    mask: Tensor | None

    def __init__(
        self, channels: int, heads: int, window: int, size: tuple[int, int], shift: tuple[int, int] = (0, 0)
    ) -> None:
        super().__init__()
        self.heads = heads
        self.head_dim = channels // heads
        self.window = window
        self.shift = shift
        self.size = size
        self.grid = (-(-size[0] // window), -(-size[1] // window))
        self.padding = (self.grid[0] * window - size[0], self.grid[1] * window - size[1])
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.project = nn.Conv2d(channels, channels, 1)
        self.bias = nn.Parameter(torch.empty(heads, 1, 2 * window - 1, 2 * window - 1))
        nn.init.trunc_normal_(self.bias, std=0.02)
        self.register_buffer("offsets", relative_positions(window), persistent=False)
        masked = any(shift) or any(self.padding)
        self.register_buffer("mask", separated(size, window, shift) if masked else None, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.split(self.qkv(x)).unbind(0)
        bias = self.bias.flatten(1).index_select(1, self.offsets.flatten()).reshape(1, -1, *self.offsets.shape)
        if self.mask is not None:
            bias = (bias + self.mask).repeat(x.shape[0], 1, 1, 1)
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        y: Tensor = self.project(self.merge(mixed))
        return y

    def split(self, qkv: Tensor) -> Tensor:
        """Queries, keys and values by window and head: (N, 3 C, H, W) to (3, N windows, heads, L, C / heads)."""
        qkv = F.pad(qkv, (0, self.padding[1], 0, self.padding[0]))
        qkv = qkv.roll((-self.shift[0], -self.shift[1]), (2, 3))
        rows, columns = self.grid
        qkv = qkv.reshape(-1, 3, self.heads, self.head_dim, rows, self.window, columns, self.window)
        # one column of windows leaves a view, and the CPU's fused attention takes only the head dim innermost
        return qkv.permute(1, 0, 4, 6, 2, 5, 7, 3).flatten(5, 6).flatten(1, 3).contiguous()

    def merge(self, windows: Tensor) -> Tensor:
        """The inverse of `split` for one map: (N windows, heads, L, C / heads) to (N, C, H, W)."""
        x = windows.reshape(-1, *self.grid, self.heads, self.window, self.window, self.head_dim)
        x = x.permute(0, 3, 6, 1, 4, 2, 5).flatten(5, 6).flatten(3, 4).flatten(1, 2)
        return x.roll(self.shift, (2, 3))[:, :, : self.size[0], : self.size[1]]


class WindowAttention(Mixer):
    """softmax(Q K^T / sqrt(d) + B) V in each head inside windows of `window` x `window` positions, then a projection.

    B holds one learnt number a head for each offset between two positions. Where the window does not divide the map,
    the map is padded at the right and bottom, and padding is masked out; a window larger than the map becomes the
    map's larger extent. The module fits the one map size that it was built for.

    Args:
        window: extent of the windows.
        shift: move the windows by half their extent, along each direction that holds more than one; blocks alternate.
        head_dim: channels of a head; divides the width.
        heads: number of heads; None takes as many as `head_dim` says.

    Liu et al., 2021, Swin Transformer: Hierarchical Vision Transformer using Shifted Windows.
    """

    paper: ClassVar[Paper] = Paper(
        title="Swin Transformer: Hierarchical Vision Transformer using Shifted Windows",
        authors="Ze Liu, Yutong Lin, Yue Cao, Han Hu, Yixuan Wei, Zheng Zhang, Stephen Lin, Baining Guo",
        year=2021,
    )

    window: Positive = 7
    shift: bool = False
    head_dim: Positive = 16
    heads: Positive | None = None

    def output(self, x: Feature) -> Feature:
        head_count(image(self, x).channels, self.heads, self.head_dim)
        return x

    def build(self, x: Feature) -> nn.Module:
        height, width = image(self, x).size
        window = min(self.window, max(height, width))
        down, right = (window // 2 if self.shift and n > window else 0 for n in (height, width))
        heads = head_count(x.channels, self.heads, self.head_dim)
        return WindowSelfAttention(x.channels, heads, window, (height, width), (down, right))

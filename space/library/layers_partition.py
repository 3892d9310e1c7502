"""Partitions of a map into groups of positions for attention: windows of neighbours, or grids over the whole map."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Partition(nn.Module):
    """Maps (N, C, H, W) into groups of `extent` x `extent` positions, and back.

    With `grid` the members of a group lie as far apart as the map allows, spread over all of it; otherwise they are
    neighbours. A map that `extent` does not divide is padded at the right and bottom; `mask` is 0 where two positions
    of a group may see each other and -inf between padding and the map, None where there is no padding.
    """

    mask: Tensor | None

    def __init__(self, size: tuple[int, int], extent: int, grid: bool = False) -> None:
        super().__init__()
        self.size = size
        self.extent = extent
        self.grid = grid
        self.counts = (-(-size[0] // extent), -(-size[1] // extent))
        self.padding = (self.counts[0] * extent - size[0], self.counts[1] * extent - size[1])
        inside = self.split(torch.ones(1, 1, *size))[..., 0]
        apart = torch.zeros(()).where(inside[:, None, :, None] == inside[:, None, None, :], float("-inf"))
        self.register_buffer("mask", apart if any(self.padding) else None, persistent=False)

    def split(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N groups, extent^2, C)."""
        x = F.pad(x, (0, self.padding[1], 0, self.padding[0]))
        rows, columns = self.counts
        if self.grid:
            x = x.reshape(-1, x.shape[1], self.extent, rows, self.extent, columns).permute(0, 3, 5, 2, 4, 1)
        else:
            x = x.reshape(-1, x.shape[1], rows, self.extent, columns, self.extent).permute(0, 2, 4, 3, 5, 1)
        return x.flatten(3, 4).flatten(0, 2)

    def merge(self, groups: Tensor) -> Tensor:
        """(N groups, extent^2, C) to (N, C, H, W), the inverse of `split`."""
        x = groups.reshape(-1, *self.counts, self.extent, self.extent, groups.shape[2])
        x = x.permute(0, 5, 3, 1, 4, 2) if self.grid else x.permute(0, 5, 1, 3, 2, 4)
        x = x.flatten(4, 5).flatten(2, 3)
        return x[:, :, : self.size[0], : self.size[1]]

    def forward(self, x: Tensor) -> Tensor:
        """The same as `split`."""
        return self.split(x)


def in_heads(groups: Tensor, heads: int) -> Tensor:
    """(B, L, C) to (B, heads, L, C / heads)."""
    return groups.reshape(*groups.shape[:2], heads, -1).transpose(1, 2)


def out_of_heads(mixed: Tensor) -> Tensor:
    """(B, heads, L, D) to (B, L, heads D)."""
    return mixed.transpose(1, 2).flatten(2)


def masked(bias: Tensor, mask: Tensor | None, batch: int) -> Tensor:
    """A bias (1, heads, L, L) for every group, and where a mask (groups, 1, L, L) is given with it: (B, heads, L, L)."""
    return bias if mask is None else (bias + mask).repeat(batch, 1, 1, 1)

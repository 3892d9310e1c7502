"""Selective scan of interleaved sub-grids of a map."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archfront.space.library.common import image, scaled
from archfront.space.library.layers import LayerNorm2d
from archfront.space.library.layers_scan import SelectiveScan
from archfront.space.spec import Factor, Mixer, Odd, Paper, Positive
from archfront.space.types import Feature


class AtrousGrid(nn.Module):
    """A map (N, C, H, W) as step^2 sequences (N, step^2, C, L), one for each offset inside tiles, and back.

    Sequence i + step j holds the positions at row offset i and column offset j, in rows, or where i is odd in columns.
    The map is padded with zeros at the right and bottom to whole tiles.
    """

    def __init__(self, step: int) -> None:
        super().__init__()
        self.step = step

    def split(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, step^2, C, L)."""
        step = self.step
        # remainders of positive numbers: exported graphs round towards zero
        right, down = ((step - n % step) % step for n in (x.shape[3], x.shape[2]))
        x = F.pad(x, (0, right, 0, down))
        grids = [x[:, :, i::step, j::step] for j in range(step) for i in range(step)]
        by_offset = zip(grids, self.by_columns(), strict=True)
        return torch.stack([(g.transpose(2, 3) if turned else g).flatten(2) for g, turned in by_offset], 1)

    def merge(self, sequences: Tensor, size: tuple[int, int]) -> Tensor:
        """(N, step^2, C, L) to (N, C, *size), the inverse of `split`."""
        step = self.step
        rows, columns = ((n + step - 1) // step for n in size)
        by_offset = zip(sequences.unbind(1), self.by_columns(), strict=True)
        grids = [
            s.reshape(*s.shape[:2], columns, rows).transpose(2, 3) if turned else s.reshape(*s.shape[:2], rows, columns)
            for s, turned in by_offset
        ]
        # N, C, rows, columns, column offset, row offset
        x = torch.stack(grids, -1).reshape(*grids[0].shape, step, step)
        x = x.permute(0, 1, 2, 5, 3, 4).flatten(4, 5).flatten(2, 3)
        return x[:, :, : size[0], : size[1]]

    def by_columns(self) -> list[bool]:
        """For each sequence whether it runs along columns."""
        return [i % 2 == 1 for _ in range(self.step) for i in range(self.step)]

    def forward(self, x: Tensor) -> Tensor:
        """The same as `split`."""
        return self.split(x)


class AtrousSelectiveScan(nn.Module):
    """1x1 expansion into values and gates, depthwise convolution, scan of sub-grids, norm, gating, 1x1 projection."""

    fused_outputs: ClassVar[dict[str, int]] = {"expand": 2}

    def __init__(
        self,
        channels: int,
        hidden: int,
        rank: int,
        step: int = 2,
        states: int = 16,
        kernel: int = 3,
        scanned: int | None = None,
    ) -> None:
        super().__init__()
        inner = scanned or hidden
        self.expand = nn.Conv2d(channels, 2 * hidden, 1, bias=False)
        self.depthwise = (
            nn.Conv2d(hidden, hidden, kernel, padding=kernel // 2, groups=hidden) if kernel > 1 else nn.Identity()
        )
        self.act = nn.SiLU()
        self.narrow = nn.Conv2d(hidden, inner, 1, bias=False) if scanned else nn.Identity()
        self.grid = AtrousGrid(step)
        self.scan = SelectiveScan(step**2, inner, rank, states)
        self.norm = LayerNorm2d(inner, eps=1e-5)
        self.widen = nn.Conv2d(inner, hidden, 1, bias=False) if scanned else nn.Identity()
        self.project = nn.Conv2d(hidden, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        values, gates = self.expand(x).chunk(2, 1)
        values = self.narrow(self.act(self.depthwise(values)))
        scanned = self.grid.merge(self.scan(self.grid.split(values)), (x.shape[2], x.shape[3]))
        y: Tensor = self.project(self.widen(self.norm(scanned)) * self.act(gates))
        return y


class AtrousScan(Mixer):
    """W3 (norm(scan(SiLU(D W1 x))) * SiLU(W2 x)): a selective scan between linear maps, with a gate.

    W1 and W2 expand the channels, D is a depthwise convolution. The scan takes the map apart into `step`^2 interleaved
    sub-grids, each one sequence with parameters of its own, in rows or columns: h_t = exp(d_t A) h_(t-1) + d_t B_t u_t,
    y_t = C_t h_t + D u_t with d_t = softplus(...), B_t and C_t computed from u_t. Every position is scanned once, where
    scans in four directions visit it four times; only D, and what stands beside this mixer, carry information from
    one sub-grid to another. All steps run in parallel; cost grows linearly with the number of positions.

    Multiply-adds of the recurrence are elementwise, and so free in the convention of the cost metric; authors add about
    9 of them for every position, channel and state.

    Args:
        step: distance of the positions of a sub-grid; 1 scans the map once, row by row.
        states: numbers that each channel carries along the scan.
        expand: hidden width over width.
        kernel: extent of D; 1 leaves D out.
        scanned: channels of the scan over hidden width; None scans all, a part goes through linear maps around the scan.

    Pei, Huang and Xu, 2025, EfficientVMamba: Atrous Selective Scan for Light Weight Visual Mamba; the scan from Gu and
    Dao, 2023, Mamba: Linear-Time Sequence Modeling with Selective State Spaces.
    """

    paper: ClassVar[Paper] = Paper(
        title="EfficientVMamba: Atrous Selective Scan for Light Weight Visual Mamba",
        authors="Xiaohuan Pei, Tao Huang, Chang Xu",
        year=2025,
        key="efficient_vmamba",
    )

    step: Positive = 2
    states: Positive = 16
    expand: Factor = 2.0
    kernel: Odd = 3
    scanned: Factor | None = None

    def output(self, x: Feature) -> Feature:
        return image(self, x)

    def build(self, x: Feature) -> nn.Module:
        channels = image(self, x).channels
        hidden = scaled(channels, self.expand)
        return AtrousSelectiveScan(
            channels,
            hidden,
            -(-channels // 16),
            self.step,
            self.states,
            self.kernel,
            None if self.scanned is None else scaled(hidden, self.scanned),
        )

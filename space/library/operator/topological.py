"""Sparse 1x1 convolution between neighbours on a torus of channels."""

from __future__ import annotations

import itertools
import math
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archfront.space.library.common import image
from archfront.space.spec import Factor, Operator, Paper, Positive
from archfront.space.types import Feature


def windows(grid: tuple[int, ...], window: tuple[int, ...], outputs: int) -> Tensor:
    """For each output channel the input channels in the window around its position, wrapping round: (outputs, taps)."""
    channels = math.prod(grid)
    centres = torch.arange(outputs) * channels // outputs
    index = torch.zeros(outputs, 1, dtype=torch.long)
    for extent, reach, below in zip(grid, window, itertools.accumulate((1, *grid), int.__mul__), strict=False):
        own = centres // (channels // (below * extent)) % extent
        near = (own[:, None] + torch.arange(reach) - reach // 2) % extent
        index = (index[:, :, None] * extent + near[:, None, :]).flatten(1)
    return index


class TopologicalConv2d(nn.Module):
    """A 1x1 convolution without bias in which each output channel sees only its neighbours on the torus `grid`.

    `dense` computes it as a full 1x1 convolution with zeros elsewhere, otherwise the neighbours are gathered.
    """

    index: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        grid: tuple[int, ...],
        window: tuple[int, ...],
        stride: int = 1,
        dense: bool = False,
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.stride = stride
        self.dense = dense
        self.register_buffer("index", windows(grid, window, out_channels), persistent=False)
        taps = math.prod(window)
        self.weight = nn.Parameter(torch.empty(out_channels, taps))
        nn.init.uniform_(self.weight, -(taps**-0.5), taps**-0.5)

    def forward(self, x: Tensor) -> Tensor:
        if self.stride > 1:
            x = x[:, :, :: self.stride, :: self.stride]
        outputs = self.weight.shape[0]
        if self.dense:
            full = self.weight.new_zeros(outputs, self.in_channels).scatter(1, self.index, self.weight)
            return F.conv2d(x, full[:, :, None, None])
        return F.conv2d(x.index_select(1, self.index.flatten()), self.weight[:, :, None, None], groups=outputs)


def torus(channels: int, dimensions: int) -> tuple[int, ...]:
    """The channels as a grid of extents that are as even as their divisors allow, smallest first."""
    if dimensions == 1:
        return (channels,)
    first = max(d for d in range(1, channels + 1) if channels % d == 0 and d**dimensions <= channels)
    return (first, *torus(channels // first, dimensions - 1))


def reach(grid: tuple[int, ...], fraction: float) -> tuple[int, ...]:
    """A window of about `fraction` of the grid, equally much along every dimension."""
    return tuple(min(n, max(1, round(n * fraction ** (1 / len(grid))))) for n in grid)


class TopologicalConv(Operator):
    """y_j = sum_i W_ji x_i over the channels i near j: a 1x1 convolution, sparse by topology, without bias.

    The C input channels lie on a torus of `dims` dimensions whose extents are as even as the divisors of C allow (128:
    8 x 16, 4 x 4 x 8). An output channel is connected to a window around its position, which wraps round, so that all
    have equally many connections; unlike groups, windows overlap. Where the widths differ, the positions of the
    outputs are spread evenly. Each extent of the window is the extent of the torus times fraction^(1 / dims), rounded.

    Args:
        dims: dimensions of the torus.
        fraction: connections of an output over C: the share of parameters, too, of a full 1x1 convolution.
        execute: "dense" computes the full product with zeros elsewhere. "gather" does only the multiply-adds of the paper,
            but copies the neighbours of every output, for which runtimes have no kernel: it takes many times as long.
            So "dense" is what a device should run and what latency and cost are about; "gather" gives the paper's
            counts. Parameters and results are the same.

    Wang, Liu and Foroosh, 2016, Design of Efficient Convolutional Layers using Single Intra-channel Convolution,
    Topological Subdivisioning and Spatial "Bottleneck" Structure.
    """

    paper: ClassVar[Paper] = Paper(
        title="Design of Efficient Convolutional Layers using Single Intra-channel Convolution, Topological "
        'Subdivisioning and Spatial "Bottleneck" Structure',
        authors="Min Wang, Baoyuan Liu, Hassan Foroosh",
        year=2016,
        key="sic_topological_spatial_bottleneck",
    )

    dims: Positive = 2
    fraction: Factor = 0.25
    execute: Literal["dense", "gather"] = "dense"

    def output(self, x: Feature) -> Feature:
        return image(self, x).at(self.width, self.stride)

    def build(self, x: Feature) -> nn.Module:
        width = self.output(x).channels
        grid = torus(x.channels, self.dims)
        window = reach(grid, self.fraction)
        return TopologicalConv2d(x.channels, width, grid, window, self.stride, self.execute == "dense")

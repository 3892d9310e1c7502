"""From a map to a row of tokens that a class token leads and that remembers its grid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from archfront.space.library.common import image
from archfront.space.library.downsample.class_token import ClassToken
from archfront.space.spec import Paper
from archfront.space.types import Feature


@dataclass(frozen=True)
class TokenGrid(Feature):
    """One row of 1 + h w positions, a class token and then those of an h x w grid, row by row; `grid` is (h, w).

    To blocks that treat all positions alike it is a map like any other; those that do not find the grid here.
    """

    grid: tuple[int, int] = (1, 1)

    def __post_init__(self) -> None:
        super().__post_init__()
        height, width = self.grid
        object.__setattr__(self, "grid", (height, width))

    def at(self, width: int | None = None, stride: int = 1) -> Feature:
        if stride != 1:
            return super().at(width, stride)
        return TokenGrid(width or self.channels, self.size, self.grid)

    def strided(self, width: int | None, stride: int) -> TokenGrid:
        """The type after an operator on the grid alone: sizes of the grid ceil(n / stride), the token kept."""
        height, across = (-(-n // stride) for n in self.grid)
        return TokenGrid(width or self.channels, (1, 1 + height * across), (height, across))

    def __str__(self) -> str:
        return f"{self.channels}x(1+{self.grid[0]}x{self.grid[1]})"


def on_grid(module: nn.Module, x: Tensor, grid: tuple[int, int] | None) -> Tensor:
    """`module` applied to the grid of a row (N, C, 1, 1 + h w), its class token put aside; to x itself without a grid."""
    if grid is None:
        whole: Tensor = module(x)
        return whole
    y = module(x[:, :, 0, 1:].reshape(*x.shape[:2], *grid)).flatten(2)
    return torch.cat((x[:, :, 0, :1], y), 2)[:, :, None]


class GridClassToken(ClassToken):
    """(C, H, W) to (width, 1, 1 + h w) as ClassToken has it, for blocks that convolve the h x w positions of the row.

    ConvProjectionAttention and MultiscaleBlock do, and leave the token aside.

    Args:
        downsample: makes the map whose positions become tokens, at this spec's width and stride.

    Wu et al., 2021, CvT: Introducing Convolutions to Vision Transformers.
    """

    paper: ClassVar[Paper] = Paper(
        title="CvT: Introducing Convolutions to Vision Transformers",
        authors="Haiping Wu, Bin Xiao, Noel Codella, Mengchen Liu, Xiyang Dai, Lu Yuan, Lei Zhang",
        year=2021,
        key="cvt_conv_projection",
    )

    def output(self, x: Feature) -> TokenGrid:
        y = self._map(image(self, x))
        height, width = y.size
        return TokenGrid(y.channels, (1, 1 + y.positions), (height, width))

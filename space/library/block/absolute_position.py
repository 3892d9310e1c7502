"""A learnt vector for every position of a map."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from archfront.space.library.common import image
from archfront.space.spec import Block, Paper
from archfront.space.types import Feature


class PositionTable(nn.Module):
    """Adds a learnt vector a position to a map (N, C, *size)."""

    def __init__(self, channels: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.empty(1, channels, *size))
        nn.init.trunc_normal_(self.table, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.table


class AbsolutePosition(Block):
    """x + T: T holds one learnt vector a position, drawn from a normal distribution of deviation 0.02.

    Stands in front of the blocks of a stage (PVT) or of a whole network (ViT). The module fits the one map size that
    it was built for.

    Dosovitskiy et al., 2021, An Image is Worth 16x16 Words: Transformers for Image Recognition at Scale.
    """

    paper: ClassVar[Paper] = Paper(
        title="An Image is Worth 16x16 Words: Transformers for Image Recognition at Scale",
        authors="Alexey Dosovitskiy et al.",
        year=2021,
    )

    def output(self, x: Feature) -> Feature:
        return image(self, x)

    def build(self, x: Feature) -> nn.Module:
        height, width = image(self, x).size
        return PositionTable(x.channels, (height, width))

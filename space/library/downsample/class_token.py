"""From a map to a row of tokens that a class token leads."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from archfront.space.library.common import image, resampled
from archfront.space.library.downsample.patch import PatchDownsample
from archfront.space.spec import Downsample, Paper
from archfront.space.types import Feature


class ClassTokenRow(nn.Module):
    """Downsamples, lays the positions out in one row, row by row, and puts a learnt vector in front."""

    def __init__(self, downsample: nn.Module, channels: int) -> None:
        super().__init__()
        self.downsample = downsample
        self.token = nn.Parameter(torch.empty(1, channels, 1, 1))
        nn.init.trunc_normal_(self.token, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        row = self.downsample(x).flatten(2).unsqueeze(2)
        return torch.cat((self.token.expand(row.shape[0], -1, -1, -1), row), 3)


class ClassToken(Downsample):
    """(C, H, W) to (width, 1, 1 + h w): the h w positions that `downsample` yields, in one row behind a learnt token.

    Blocks that treat all positions alike (attention over all of them, perceptrons) then work on tokens as on any map;
    `TokenClassifier` reads the first one.

    Args:
        downsample: makes the map whose positions become tokens, at this spec's width and stride.

    Dosovitskiy et al., 2021, An Image is Worth 16x16 Words: Transformers for Image Recognition at Scale.
    """

    paper: ClassVar[Paper] = Paper(
        title="An Image is Worth 16x16 Words: Transformers for Image Recognition at Scale",
        authors="Alexey Dosovitskiy et al.",
        year=2021,
    )

    downsample: Downsample = PatchDownsample()

    def _map(self, x: Feature) -> Feature:
        return resampled("downsample", self.downsample.at(self.width, self.stride), x)

    def output(self, x: Feature) -> Feature:
        y = self._map(image(self, x))
        return Feature(y.channels, (1, 1 + y.positions))

    def build(self, x: Feature) -> nn.Module:
        return ClassTokenRow(self.downsample.at(self.width, self.stride).build(x), self._map(x).channels)

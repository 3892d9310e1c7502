"""Classification from several resolutions."""

from __future__ import annotations

from itertools import pairwise
from typing import ClassVar

from torch import Tensor, nn

from archfront.space.errors import ShapeError
from archfront.space.library.block.bottleneck import Bottleneck
from archfront.space.library.common_pyramid import halving
from archfront.space.library.topology.stream_transition import StreamTransition
from archfront.space.spec import Block, Head, Paper, Positive
from archfront.space.types import Feature, Pyramid, Scores


class BiasedConv(nn.Sequential):
    """A "same"-padded convolution with bias, batch norm, ReLU."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int = 1, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, stride, padding=kernel // 2)
        self.norm = nn.BatchNorm2d(out_channels)
        self.act = nn.ReLU()


class CascadeHead(nn.Module):
    """Widens every level, adds each to the next coarser one, and classifies by the mean of the last."""

    def __init__(
        self, widen: tuple[nn.Module, ...], reduce: tuple[nn.Module, ...], width: int, features: int, classes: int
    ) -> None:
        super().__init__()
        self.widen = nn.ModuleList(widen)
        self.reduce = nn.ModuleList(reduce)
        self.conv = BiasedConv(width, features)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.linear = nn.Linear(features, classes)

    def forward(self, levels: tuple[Tensor, ...]) -> Tensor:
        first, *others = (widen(level) for widen, level in zip(self.widen, levels, strict=True))
        y = first
        for reduce, other in zip(self.reduce, others, strict=True):
            y = reduce(y) + other
        scores: Tensor = self.linear(self.flatten(self.pool(self.conv(y))))
        return scores


class CascadeClassifier(Head):
    """Pyramid to `classes` scores: y_1 = B_1 x_1, y_i = B_i x_i + D_i y_{i-1}, then W mean(F y_n) + b.

    B_i is a block to the i-th of `widths`, D_i a 3x3 convolution of stride 2 and F a 1x1 convolution to `features`
    channels, both with bias, BN and ReLU.

    Args:
        classes: number of scores.
        widths: of the blocks, one a level; None takes 128, 256, 512, ...
        features: width of F.
        block: B.

    Wang et al., 2020, Deep High-Resolution Representation Learning for Visual Recognition.
    """

    paper: ClassVar[Paper] = StreamTransition.paper

    classes: Positive
    widths: tuple[Positive, ...] | None = None
    features: Positive = 2048
    block: Block = Bottleneck()

    def _widened(self, x: Pyramid) -> tuple[Feature, ...]:
        levels = halving(self, x)
        widths = self.widths or tuple(128 * 2**i for i in range(len(levels)))
        if len(widths) != len(levels):
            raise ShapeError(f"{len(widths)} widths for {len(levels)} levels; give one width a level")
        return tuple(level.at(width) for level, width in zip(levels, widths, strict=True))

    def output(self, x: Pyramid) -> Scores:
        widened = self._widened(x)
        for level, wide in zip(x.levels, widened, strict=True):
            try:
                self.block.at(wide.channels, 1).output(level)
            except ShapeError as error:
                raise error.inside("block") from None
        return Scores(self.classes)

    def build(self, x: Pyramid) -> nn.Module:
        self.output(x)
        widths = [level.channels for level in self._widened(x)]
        widen = tuple(self.block.at(width, 1).build(level) for level, width in zip(x.levels, widths, strict=True))
        reduce = tuple(BiasedConv(fine, coarse, 3, 2) for fine, coarse in pairwise(widths))
        return CascadeHead(widen, reduce, widths[-1], self.features, self.classes)

"""Parallel streams of features out of fewer ones."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, ClassVar

from torch import Tensor, nn

from archfront.space.errors import ShapeError
from archfront.space.library.common import image
from archfront.space.library.layers import ConvNormAct
from archfront.space.spec import Paper, Positive, Rule, Topology
from archfront.space.types import Feature, Pyramid


class StreamSplit(nn.Module):
    """One path to each stream: to those that exist already from themselves, to new ones from the last that exists."""

    def __init__(self, paths: tuple[nn.Module, ...]) -> None:
        super().__init__()
        self.paths = nn.ModuleList(paths)

    def forward(self, x: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        streams = (x,) if isinstance(x, Tensor) else x
        return tuple(path(streams[min(i, len(streams) - 1)]) for i, path in enumerate(self.paths))


def new_stream(in_channels: int, out_channels: int, steps: int) -> nn.Module:
    """3x3 convolutions with norm and ReLU, each of which halves the map; the last one changes the width."""
    widths = [in_channels] * steps + [out_channels]
    return nn.Sequential(*(ConvNormAct(a, b, 3, 2, activation="relu") for a, b in pairwise(widths)))


class StreamTransition(Topology):
    """Feature or pyramid to a pyramid of `widths`, in which every level has half the size of the one before.

    A level that is there already goes through relu(BN(W * x)), W a 3x3 convolution, where its width changes, and is
    left alone otherwise. A new one comes from the coarsest that is there, by as many such convolutions with stride 2 as
    it takes, of which the last changes the width.

    Args:
        widths: of the levels, finest first; as many as there are already, or more.

    Wang et al., 2020, Deep High-Resolution Representation Learning for Visual Recognition.
    """

    paper: ClassVar[Paper] = Paper(
        title="Deep High-Resolution Representation Learning for Visual Recognition",
        authors="Jingdong Wang, Ke Sun, Tianheng Cheng, Borui Jiang, Chaorui Deng, Yang Zhao, Dong Liu, Yadong Mu, "
        "Mingkui Tan, Xinggang Wang, Wenyu Liu, Bin Xiao",
        year=2020,
        key="hrnet",
    )

    widths: Annotated[tuple[Positive, ...], Rule("a tuple of at least one width", len)] = (16, 32)

    def _levels(self, x: Feature | Pyramid) -> tuple[Feature, ...]:
        levels = x.levels if isinstance(x, Pyramid) else (image(self, x),)
        if len(levels) > len(self.widths):
            raise ShapeError(f"{len(self.widths)} widths for {len(levels)} levels; give at least one width a level")
        return levels

    def output(self, x: Feature | Pyramid) -> Pyramid:
        *levels, last = self._levels(x)
        while len(levels) < len(self.widths):
            levels.append(last)
            last = last.at(stride=2)
        return Pyramid(tuple(level.at(width) for level, width in zip(levels, self.widths, strict=True)))

    def build(self, x: Feature | Pyramid) -> nn.Module:
        levels = self._levels(x)
        kept = (
            ConvNormAct(level.channels, width, 3, activation="relu") if level.channels != width else nn.Identity()
            for level, width in zip(levels, self.widths, strict=False)
        )
        added = (
            new_stream(levels[-1].channels, width, steps)
            for steps, width in enumerate(self.widths[len(levels) :], start=1)
        )
        return StreamSplit((*kept, *added))

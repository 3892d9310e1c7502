"""Perceptrons along the rows and columns of a map that mix a few groups of channels too."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch.nn.functional as F
from torch import Tensor, nn

from archfront.space.errors import ShapeError
from archfront.space.library.common import Activation, divisors, image, listed, scaled
from archfront.space.library.layers import make_activation
from archfront.space.spec import Factor, Mixer, Paper, Positive
from archfront.space.types import Feature


def resized(x: Tensor, size: tuple[int, ...]) -> Tensor:
    """A map interpolated bicubically to `size`; itself where it has that size."""
    return x if x.shape[2:] == size else F.interpolate(x, size, mode="bicubic", align_corners=False)


class RaftPerceptron(nn.Module):
    """A perceptron along the columns (or rows) of a map of `length` positions there, over `rafts` channels at once.

    The channels are split into `rafts` equal runs; a vector holds the positions of one channel of every run. All
    vectors share the weights.
    """

    def __init__(self, length: int, rafts: int, hidden: int, vertical: bool = True, activation: str = "gelu") -> None:
        super().__init__()
        self.rafts = rafts
        self.vertical = vertical
        self.expand = nn.Linear(rafts * length, hidden)
        self.act = make_activation(activation)
        self.project = nn.Linear(hidden, rafts * length)

    def forward(self, x: Tensor) -> Tensor:
        columns = x if self.vertical else x.transpose(2, 3)
        runs = columns.reshape(x.shape[0], self.rafts, -1, *columns.shape[2:])
        vectors = runs.permute(0, 2, 4, 1, 3)
        mixed = self.project(self.act(self.expand(vectors.flatten(3)))).reshape(vectors.shape)
        y: Tensor = mixed.permute(0, 3, 1, 4, 2).flatten(1, 2)
        return y if self.vertical else y.transpose(2, 3)


class RaftTokenMixer(nn.Module):
    """Residual perceptrons along the columns and rows of a map of `size`, without the first input; see RaftTokenMixing.

    Maps of another size are resized on the way.
    """

    def __init__(self, size: tuple[int, int], vertical: nn.Module | None, horizontal: nn.Module | None) -> None:
        super().__init__()
        self.size = size
        self.vertical = vertical
        self.horizontal = horizontal

    def forward(self, x: Tensor) -> Tensor:
        start = resized(x, self.size)
        y = start
        for perceptron in (self.vertical, self.horizontal):
            if perceptron is not None:
                y = y + perceptron(y)
        return resized(y - start, x.shape[2:])


class RaftTokenMixing(Mixer):
    """V x + H (x + V x): V a perceptron along the columns of the map, H one along its rows, over r channels at once.

    With the shortcut around it the two follow each other as residual layers. Seen as r runs of C / r channels, the
    map has C / r vectors of r H numbers in each column, and V maps each of them as W2 act(W1 v + b1) + b2 with a hidden
    length of `expand` r H (rounded); H likewise. r = 1 mixes each channel alone. The weights fit one map size; maps of
    another size are interpolated bicubically to it and back.

    Args:
        rafts: r; divides the width.
        expand: hidden length over length.
        activation: act.
        axes: which of V and H there are.

    Tatsunami and Taki, 2022, RaftMLP: How Much Can Be Done Without Attention and with Less Spatial Locality?
    """

    paper: ClassVar[Paper] = Paper(
        title="RaftMLP: How Much Can Be Done Without Attention and with Less Spatial Locality?",
        authors="Yuki Tatsunami, Masato Taki",
        year=2022,
        key="raft_token_mixing",
    )

    rafts: Positive = 2
    expand: Factor = 2.0
    activation: Activation = "gelu"
    axes: Literal["both", "vertical", "horizontal"] = "both"

    def output(self, x: Feature) -> Feature:
        if image(self, x).channels % self.rafts:
            raise ShapeError(
                f"{self.rafts} rafts do not divide {x.channels} channels; use {listed(divisors(x.channels))}"
            )
        return x

    def build(self, x: Feature) -> nn.Module:
        height, width = self.output(x).size
        vertical = None if self.axes == "horizontal" else self.along(height, vertical=True)
        horizontal = None if self.axes == "vertical" else self.along(width, vertical=False)
        return RaftTokenMixer((height, width), vertical, horizontal)

    def along(self, length: int, vertical: bool) -> RaftPerceptron:
        """The perceptron along one direction of `length` positions."""
        hidden = scaled(self.rafts * length, self.expand)
        return RaftPerceptron(length, self.rafts, hidden, vertical, self.activation)

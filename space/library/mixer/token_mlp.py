"""Perceptron over positions."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from archfront.space.library.common import Activation, image, scaled
from archfront.space.library.layers import make_activation
from archfront.space.spec import Factor, Mixer, Paper
from archfront.space.types import Feature


class PositionMLP(nn.Module):
    """Two linear maps along the positions of a feature map, the same for every channel."""

    def __init__(self, positions: int, hidden: int, activation: str = "gelu") -> None:
        super().__init__()
        self.expand = nn.Linear(positions, hidden)
        self.act = make_activation(activation)
        self.project = nn.Linear(hidden, positions)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.project(self.act(self.expand(x.flatten(2))))
        return y.reshape(x.shape)


class TokenMLP(Mixer):
    """W2 act(W1 x + b1) + b2 along the S positions of each channel, W1: S -> `expand` S (rounded), W2 back to S.

    The parameters depend on the map size, so the module fits the one size that it was built for.

    Tolstikhin et al., 2021, MLP-Mixer: An all-MLP Architecture for Vision.
    """

    paper: ClassVar[Paper] = Paper(
        title="MLP-Mixer: An all-MLP Architecture for Vision",
        authors="Ilya Tolstikhin et al.",
        year=2021,
    )

    expand: Factor = 2.0
    activation: Activation = "gelu"

    def output(self, x: Feature) -> Feature:
        return image(self, x)

    def build(self, x: Feature) -> nn.Module:
        positions = image(self, x).positions
        return PositionMLP(positions, scaled(positions, self.expand), self.activation)

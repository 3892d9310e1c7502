"""Perceptron with a multiplicative gate at each position."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from archfront.space.library.common import Activation, image, scaled
from archfront.space.library.layers import make_activation
from archfront.space.spec import ChannelMixer, Factor, Paper, Probability
from archfront.space.types import Feature


class GatedMLP(nn.Module):
    """One 1x1 convolution yields values and gates; a second one takes their product."""

    fused_outputs: ClassVar[dict[str, int]] = {"expand": 2}

    def __init__(self, channels: int, hidden: int, activation: str = "silu", dropout: float = 0.0) -> None:
        super().__init__()
        self.expand = nn.Conv2d(channels, 2 * hidden, 1)
        self.act = make_activation(activation)
        self.dropout = nn.Dropout(dropout)
        self.project = nn.Conv2d(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        gates, values = self.expand(x).chunk(2, dim=1)
        y: Tensor = self.project(self.dropout(self.act(gates) * values))
        return y


class GatedFeedForward(ChannelMixer):
    """W2 dropout(act(W1 x + b1) * (V x + c)) + b2 at each position; W1, V: C -> `expand` C (rounded).

    SwiGLU with the default activation, GEGLU with "gelu". `expand` of 8/3 costs as much as a plain perceptron with 4.

    Shazeer, 2020, GLU Variants Improve Transformer.
    """

    paper: ClassVar[Paper] = Paper(title="GLU Variants Improve Transformer", authors="Noam Shazeer", year=2020)

    expand: Factor = 8 / 3
    activation: Activation = "silu"
    dropout: Probability = 0.0

    def output(self, x: Feature) -> Feature:
        return image(self, x)

    def build(self, x: Feature) -> nn.Module:
        channels = image(self, x).channels
        return GatedMLP(channels, scaled(channels, self.expand), self.activation, self.dropout)

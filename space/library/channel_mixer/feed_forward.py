"""Two-layer perceptron at each position."""

from __future__ import annotations

from typing import ClassVar

from torch import nn

from archfront.space.library.common import Activation, image, scaled
from archfront.space.library.layers import make_activation
from archfront.space.spec import ChannelMixer, Factor, Paper, Probability
from archfront.space.types import Feature


class PointwiseMLP(nn.Sequential):
    """Two 1x1 convolutions with an activation between them."""

    def __init__(self, channels: int, hidden: int, activation: str = "gelu", dropout: float = 0.0) -> None:
        super().__init__()
        self.expand = nn.Conv2d(channels, hidden, 1)
        self.act = make_activation(activation)
        self.dropout = nn.Dropout(dropout)
        self.project = nn.Conv2d(hidden, channels, 1)


class FeedForward(ChannelMixer):
    """W2 dropout(act(W1 x + b1)) + b2 at each position, W1: C -> `expand` C (rounded), W2 back to C.

    Vaswani et al., 2017, Attention Is All You Need.
    """

    paper: ClassVar[Paper] = Paper(
        title="Attention Is All You Need",
        authors="Ashish Vaswani, Noam Shazeer, Niki Parmar, Jakob Uszkoreit, Llion Jones, Aidan N. Gomez, "
        "Łukasz Kaiser, Illia Polosukhin",
        year=2017,
    )

    expand: Factor = 4.0
    activation: Activation = "gelu"
    dropout: Probability = 0.0

    def output(self, x: Feature) -> Feature:
        return image(self, x)

    def build(self, x: Feature) -> nn.Module:
        channels = image(self, x).channels
        return PointwiseMLP(channels, scaled(channels, self.expand), self.activation, self.dropout)

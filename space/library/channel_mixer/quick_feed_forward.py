"""Two-layer perceptron with the cheap form of GELU."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from archfront.space.library.common import image, scaled
from archfront.space.spec import ChannelMixer, Factor, Paper, Probability
from archfront.space.types import Feature


class QuickGELU(nn.Module):
    """x sigmoid(1.702 x)."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(1.702 * x)


class QuickMLP(nn.Sequential):
    """Two 1x1 convolutions with QuickGELU between them."""

    def __init__(self, channels: int, hidden: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.expand = nn.Conv2d(channels, hidden, 1)
        self.act = QuickGELU()
        self.dropout = nn.Dropout(dropout)
        self.project = nn.Conv2d(hidden, channels, 1)


class QuickFeedForward(ChannelMixer):
    """W2 dropout(act(W1 x + b1)) + b2 with act(z) = z sigmoid(1.702 z); W1: C -> `expand` C (rounded), W2 back to C.

    The perceptron of CvT.

    Hendrycks and Gimpel, 2016, Gaussian Error Linear Units (GELUs).
    """

    paper: ClassVar[Paper] = Paper(
        title="Gaussian Error Linear Units (GELUs)", authors="Dan Hendrycks, Kevin Gimpel", year=2016
    )

    expand: Factor = 4.0
    dropout: Probability = 0.0

    def output(self, x: Feature) -> Feature:
        return image(self, x)

    def build(self, x: Feature) -> nn.Module:
        channels = image(self, x).channels
        return QuickMLP(channels, scaled(channels, self.expand), self.dropout)

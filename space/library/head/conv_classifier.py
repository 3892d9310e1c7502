"""Classification by one map a class."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import nn

from archfront.space.library.common import image
from archfront.space.library.layers import make_activation
from archfront.space.spec import Head, Paper, Positive, Probability
from archfront.space.types import Feature, Scores


class ConvClassifierHead(nn.Sequential):
    """Dropout, 1x1 convolution to one map a class, activation, global mean."""

    def __init__(self, in_channels: int, classes: int, activation: str = "relu", dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.conv = nn.Conv2d(in_channels, classes, 1)
        self.act = make_activation(activation)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()


class ConvClassifier(Head):
    """Feature (C, H, W) of any size to `classes` scores: mean(act(W dropout(x) + b)), W a 1x1 convolution.

    Every class has a map that shows where it is seen. Without the activation it equals a linear layer on the mean.

    Args:
        classes: number of scores.
        activation: act, ReLU in the paper.
        dropout: probability of zeroing an entry in front of W in training.

    Springenberg et al., 2015, Striving for Simplicity: The All Convolutional Net.
    """

    paper: ClassVar[Paper] = Paper(
        title="Striving for Simplicity: The All Convolutional Net",
        authors="Jost Tobias Springenberg, Alexey Dosovitskiy, Thomas Brox, Martin Riedmiller",
        year=2015,
        key="all_convolutional_net",
    )

    classes: Positive
    activation: Literal["none", "relu"] = "relu"
    dropout: Probability = 0.0

    def output(self, x: Feature) -> Scores:
        image(self, x)
        return Scores(self.classes)

    def build(self, x: Feature) -> nn.Module:
        return ConvClassifierHead(image(self, x).channels, self.classes, self.activation, self.dropout)

"""Classification by a linear layer on all positions."""

from __future__ import annotations

from typing import ClassVar

from torch import nn

from archfront.space.library.common import image
from archfront.space.spec import Head, Paper, Positive, Probability
from archfront.space.types import Feature, Scores


class FlattenClassifierHead(nn.Sequential):
    """Flattening, dropout, linear."""

    def __init__(self, features: int, classes: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.flatten = nn.Flatten()
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(features, classes)


class FlattenClassifier(Head):
    """Feature (C, H, W) to `classes` scores: W dropout(x) + b, W of C H W columns. Fits the one map size it is built for.

    LeCun et al., 1998, Gradient-Based Learning Applied to Document Recognition.
    """

    paper: ClassVar[Paper] = Paper(
        title="Gradient-Based Learning Applied to Document Recognition",
        authors="Yann LeCun, Léon Bottou, Yoshua Bengio, Patrick Haffner",
        year=1998,
    )

    classes: Positive
    dropout: Probability = 0.0

    def output(self, x: Feature) -> Scores:
        image(self, x)
        return Scores(self.classes)

    def build(self, x: Feature) -> nn.Module:
        return FlattenClassifierHead(image(self, x).channels * x.positions, self.classes, self.dropout)

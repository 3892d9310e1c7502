"""Classification by the first position."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor, nn

from archfront.space.library.common import image
from archfront.space.library.layers import make_norm
from archfront.space.spec import Head, Paper, Positive, Probability
from archfront.space.types import Feature, Scores


class TokenClassifierHead(nn.Module):
    """Normalisation of the first position of a map, dropout, linear."""

    def __init__(self, in_channels: int, classes: int, norm: str = "layer", dropout: float = 0.0) -> None:
        super().__init__()
        self.norm = make_norm(norm, in_channels)
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(in_channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        token = self.norm(x[:, :, :1, :1]).flatten(1)
        y: Tensor = self.linear(self.dropout(token))
        return y


class TokenClassifier(Head):
    """W dropout(norm(x_0)) + b: scores from the first position alone, a class token that `ClassToken` put there.

    Args:
        classes: number of scores.
        norm: normalisation of the token.
        dropout: probability of zeroing an entry of the token in training.

    Dosovitskiy et al., 2021, An Image is Worth 16x16 Words: Transformers for Image Recognition at Scale.
    """

    paper: ClassVar[Paper] = Paper(
        title="An Image is Worth 16x16 Words: Transformers for Image Recognition at Scale",
        authors="Alexey Dosovitskiy et al.",
        year=2021,
    )

    classes: Positive
    norm: Literal["layer", "none"] = "layer"
    dropout: Probability = 0.0

    def output(self, x: Feature) -> Scores:
        image(self, x)
        return Scores(self.classes)

    def build(self, x: Feature) -> nn.Module:
        return TokenClassifierHead(image(self, x).channels, self.classes, self.norm, self.dropout)

"""Classification by the global means of all levels of a pyramid."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from archfront.space.errors import ShapeError
from archfront.space.library.common import image
from archfront.space.library.layers import make_activation
from archfront.space.library.operator.preactivated import Preactivated
from archfront.space.spec import Head, Paper, Positive, Probability
from archfront.space.types import Pyramid, Scores


class PyramidClassifierHead(nn.Module):
    """Activation and global mean of every map, the means concatenated, dropout, linear layer."""

    def __init__(self, channels: int, classes: int, activation: str = "relu", dropout: float = 0.0) -> None:
        super().__init__()
        self.act = make_activation(activation)
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(channels, classes)

    def forward(self, levels: tuple[Tensor, ...]) -> Tensor:
        means = torch.cat([self.act(level).mean((2, 3)) for level in levels], 1)
        scores: Tensor = self.linear(self.dropout(means))
        return scores


class PyramidClassifier(Head):
    """Pyramid x_1, ..., x_n to `classes` scores: W dropout([mean(act(x_1)), ..., mean(act(x_n))]) + b.

    Args:
        classes: number of scores.
        activation: act; ReLU ends a stack of search cells, whose outputs are sums without activation.
        dropout: probability of zeroing an entry of the means in training.

    Zoph et al., 2018, Learning Transferable Architectures for Scalable Image Recognition, with a single level.
    """

    paper: ClassVar[Paper] = Preactivated.paper

    classes: Positive
    activation: Literal["none", "relu", "relu6", "silu", "gelu", "hardswish"] = "relu"
    dropout: Probability = 0.0

    def output(self, x: Pyramid) -> Scores:
        if not isinstance(x, Pyramid):
            raise ShapeError(f"PyramidClassifier takes several resolutions, got {x}; use Classifier for one")
        for level in x.levels:
            image(self, level)
        return Scores(self.classes)

    def build(self, x: Pyramid) -> nn.Module:
        self.output(x)
        channels = sum(level.channels for level in x.levels)
        return PyramidClassifierHead(channels, self.classes, self.activation, self.dropout)

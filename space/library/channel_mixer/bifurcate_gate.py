"""Perceptron whose hidden channels are split into values and gates."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from archfront.space.library.common import Activation, image, scaled
from archfront.space.library.layers import make_activation
from archfront.space.spec import ChannelMixer, Factor, Paper, Probability
from archfront.space.types import Feature


class BifurcateGateMLP(nn.Module):
    """One 1x1 convolution yields values and gates; a second one without bias takes their product."""

    fused_outputs: ClassVar[dict[str, int]] = {"expand": 2}

    def __init__(self, channels: int, hidden: int, activation: str = "gelu", dropout: float = 0.0) -> None:
        super().__init__()
        self.expand = nn.Conv2d(channels, 2 * hidden, 1)
        self.act = make_activation(activation)
        self.dropout = nn.Dropout(dropout)
        self.project = nn.Conv2d(hidden, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        values, gates = self.expand(x).chunk(2, 1)
        y: Tensor = self.project(self.dropout(values * self.act(gates)))
        return y


class BifurcateGate(ChannelMixer):
    """W2 dropout((V x + c) * act(U x + b)) at each position; V, U: C -> `ratio` / 2 C (rounded), W2 back to C, no bias.

    Args:
        ratio: width of both halves together over C, 5 in the paper.
        activation: act.
        dropout: probability of zeroing a hidden entry in training.

    Xu et al., 2023, ParCNetV2: Oversized Kernel with Enhanced Attention.
    """

    paper: ClassVar[Paper] = Paper(
        title="ParCNetV2: Oversized Kernel with Enhanced Attention",
        authors="Ruihan Xu, Haokui Zhang, Wenze Hu, Shiliang Zhang, Xiaoyu Wang",
        year=2023,
        key="parcnetv2",
    )

    ratio: Factor = 5.0
    activation: Activation = "gelu"
    dropout: Probability = 0.0

    def output(self, x: Feature) -> Feature:
        return image(self, x)

    def build(self, x: Feature) -> nn.Module:
        channels = image(self, x).channels
        return BifurcateGateMLP(channels, scaled(channels, self.ratio / 2), self.activation, self.dropout)

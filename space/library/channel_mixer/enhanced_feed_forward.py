"""Two-layer perceptron with a residual depthwise convolution inside."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from archfront.space.library.common import Activation, image, scaled
from archfront.space.library.layers import make_activation
from archfront.space.spec import ChannelMixer, Factor, Odd, Paper
from archfront.space.types import Feature


class EnhancedMLP(nn.Module):
    """1x1 expansion, a depthwise convolution added to its result, activation, 1x1 projection."""

    def __init__(self, channels: int, hidden: int, kernel: int = 3, activation: str = "gelu") -> None:
        super().__init__()
        self.expand = nn.Conv2d(channels, hidden, 1)
        self.local = nn.Conv2d(hidden, hidden, kernel, padding=kernel // 2, groups=hidden)
        self.act = make_activation(activation)
        self.project = nn.Conv2d(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.expand(x)
        y: Tensor = self.project(self.act(hidden + self.local(hidden)))
        return y


class EnhancedFeedForward(ChannelMixer):
    """W2 act(h + D h) + b2 with h = W1 x + b1: W1: C -> `expand` C (rounded), D a depthwise convolution with bias.

    Args:
        expand: hidden width over width; 3 in GLNet.
        kernel: extent of D.
        activation: act.

    Zhu et al., 2024, Revisiting the Integration of Convolution and Attention for Vision Backbone; D as in Ren et al.,
    2022, Shunted Self-Attention via Multi-Scale Token Aggregation.
    """

    paper: ClassVar[Paper] = Paper(
        title="Revisiting the Integration of Convolution and Attention for Vision Backbone",
        authors="Lei Zhu, Xinjiang Wang, Wayne Zhang, Rynson W. H. Lau",
        year=2024,
    )

    expand: Factor = 4.0
    kernel: Odd = 3
    activation: Activation = "gelu"

    def output(self, x: Feature) -> Feature:
        return image(self, x)

    def build(self, x: Feature) -> nn.Module:
        channels = image(self, x).channels
        return EnhancedMLP(channels, scaled(channels, self.expand), self.kernel, self.activation)

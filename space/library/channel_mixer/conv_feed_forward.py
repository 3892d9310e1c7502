"""Perceptron with a depthwise convolution inside."""

from __future__ import annotations

from typing import ClassVar

from torch import nn

from archfront.space.library.common import Activation, image, scaled
from archfront.space.library.layers import make_activation
from archfront.space.spec import ChannelMixer, Factor, Odd, Paper, Probability
from archfront.space.types import Feature


class ConvMLP(nn.Sequential):
    """1x1 expansion, on request ReLU, depthwise convolution, activation, 1x1 projection."""

    def __init__(
        self,
        channels: int,
        hidden: int,
        kernel: int = 3,
        activation: str = "gelu",
        rectify: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.expand = nn.Conv2d(channels, hidden, 1)
        self.rectify = nn.ReLU() if rectify else nn.Identity()
        self.depthwise = nn.Conv2d(hidden, hidden, kernel, padding=kernel // 2, groups=hidden)
        self.act = make_activation(activation)
        self.dropout1 = nn.Dropout(dropout)
        self.project = nn.Conv2d(hidden, channels, 1)
        self.dropout2 = nn.Dropout(dropout)


class ConvFeedForward(ChannelMixer):
    """W2 act(D (W1 x + b1)) + b2: W1: C -> `expand` C (rounded), D a depthwise convolution with bias, W2 back to C.

    The zeros around the map tell D where it is, so that a network needs no position embedding.

    Args:
        expand: hidden width over width.
        kernel: extent of D.
        activation: act.
        rectify: a ReLU in front of D, as in PVT v2 with linear attention.
        dropout: probability of zeroing an entry behind act and at the end in training.

    Wang et al., 2022, PVT v2: Improved Baselines with Pyramid Vision Transformer.
    """

    paper: ClassVar[Paper] = Paper(
        title="PVT v2: Improved Baselines with Pyramid Vision Transformer",
        authors="Wenhai Wang, Enze Xie, Xiang Li, Deng-Ping Fan, Kaitao Song, Ding Liang, Tong Lu, Ping Luo, Ling Shao",
        year=2022,
        key="pvt_v2",
    )

    expand: Factor = 4.0
    kernel: Odd = 3
    activation: Activation = "gelu"
    rectify: bool = False
    dropout: Probability = 0.0

    def output(self, x: Feature) -> Feature:
        return image(self, x)

    def build(self, x: Feature) -> nn.Module:
        channels = image(self, x).channels
        hidden = scaled(channels, self.expand)
        return ConvMLP(channels, hidden, self.kernel, self.activation, self.rectify, self.dropout)

"""Perceptron with a depthwise convolution and channels set against what they share."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from archfront.space.library.common import Activation, image, scaled
from archfront.space.library.layers import LayerScale, make_activation
from archfront.space.spec import ChannelMixer, Factor, Odd, Paper, Probability
from archfront.space.types import Feature


class ChannelAggregationMLP(nn.Module):
    """1x1 expansion, depthwise convolution, activation, reallocation of channels, 1x1 projection."""

    def __init__(
        self, channels: int, hidden: int, kernel: int = 3, activation: str = "gelu", dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.expand = nn.Conv2d(channels, hidden, 1)
        self.depthwise = nn.Conv2d(hidden, hidden, kernel, padding=kernel // 2, groups=hidden)
        self.act = make_activation(activation)
        self.dropout = nn.Dropout(dropout)
        self.common = nn.Conv2d(hidden, 1, 1)
        self.decompose = LayerScale(hidden, 1e-5)
        self.project = nn.Conv2d(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.dropout(self.act(self.depthwise(self.expand(x))))
        hidden = hidden + self.decompose(hidden - self.act(self.common(hidden)))
        y: Tensor = self.dropout(self.project(hidden))
        return y


class ChannelAggregation(ChannelMixer):
    """W2 (u + s (u - act(v . u + c))) + b2 with u = act(D (W1 x + b1)): W1: C -> `expand` C (rounded), W2 back to C.

    D is a depthwise convolution with bias. v reduces the channels of each position to one number, and s is a learnt
    factor a channel that starts at 1e-5. Without this term it is `ConvFeedForward`.

    Args:
        expand: hidden width over width; 8 and 4 in MogaNet.
        kernel: extent of D.
        activation: act.
        dropout: probability of zeroing an entry behind act and at the end in training.

    Li et al., 2022, Efficient Multi-order Gated Aggregation Network; in print 2024 as MogaNet: Multi-order Gated
    Aggregation Network.
    """

    paper: ClassVar[Paper] = Paper(
        title="Efficient Multi-order Gated Aggregation Network",
        authors="Siyuan Li, Zedong Wang, Zicheng Liu, Cheng Tan, Haitao Lin, Di Wu, Zhiyuan Chen, Jiangbin Zheng, "
        "Stan Z. Li",
        year=2022,
        key="moganet",
    )

    expand: Factor = 4.0
    kernel: Odd = 3
    activation: Activation = "gelu"
    dropout: Probability = 0.0

    def output(self, x: Feature) -> Feature:
        return image(self, x)

    def build(self, x: Feature) -> nn.Module:
        channels = image(self, x).channels
        hidden = scaled(channels, self.expand)
        return ChannelAggregationMLP(channels, hidden, self.kernel, self.activation, self.dropout)

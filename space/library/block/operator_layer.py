"""A convolution with normalisation and activation, without a shortcut."""

from __future__ import annotations

from typing import ClassVar

from torch import nn

from archfront.space.library.common import Activation, image, kept, resampled
from archfront.space.library.layers import make_activation
from archfront.space.library.operator.conv import Conv
from archfront.space.spec import Gate, Operator, Paper, StridedBlock
from archfront.space.types import Feature


class OperatorLayerModule(nn.Sequential):
    """Convolution, batch norm, activation, gate."""

    def __init__(self, conv: nn.Module, channels: int, activation: str = "relu", gate: nn.Module | None = None) -> None:
        super().__init__()
        self.conv = conv
        self.norm = nn.BatchNorm2d(channels)
        self.act = make_activation(activation)
        self.gate = nn.Identity() if gate is None else gate


class OperatorLayer(StridedBlock):
    """gate(act(BN(K x))): one convolution without a shortcut; K carries the stride.

    With its defaults it is the layer of VGG with batch norm; with a separable convolution one of the last two layers
    of Xception or a layer of MobileNet.

    Args:
        operator: K.
        activation: act.
        gate: acts on the result.

    Simonyan and Zisserman, 2015, Very Deep Convolutional Networks for Large-Scale Image Recognition.
    """

    paper: ClassVar[Paper] = Paper(
        title="Very Deep Convolutional Networks for Large-Scale Image Recognition",
        authors="Karen Simonyan, Andrew Zisserman",
        year=2015,
    )

    operator: Operator = Conv(kernel=3)
    activation: Activation = "relu"
    gate: Gate | None = None

    def output(self, x: Feature) -> Feature:
        y = image(self, x).at(self.width, self.stride)
        resampled("operator", self.operator.at(y.channels, self.stride), x)
        return y if self.gate is None else kept("gate", self.gate, y)

    def build(self, x: Feature) -> nn.Module:
        y = self.output(x)
        conv = self.operator.at(y.channels, self.stride).build(x)
        return OperatorLayerModule(conv, y.channels, self.activation, None if self.gate is None else self.gate.build(y))

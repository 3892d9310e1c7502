"""Inverted residual with a depthwise convolution."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from archfront.space.library.common import Activation, image, kept, scaled
from archfront.space.library.layers import ConvNormAct, DropPath
from archfront.space.spec import Factor, Gate, Odd, Paper, Probability, StridedBlock
from archfront.space.types import Feature


class InvertedResidual(nn.Module):
    """1x1 expansion, depthwise convolution, gate, linear 1x1 projection; a shortcut where the type stays."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        hidden: int,
        kernel: int = 3,
        stride: int = 1,
        activation: str = "relu6",
        gate: nn.Module | None = None,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.shortcut = stride == 1 and in_channels == out_channels
        self.expand = (
            nn.Identity() if hidden == in_channels else ConvNormAct(in_channels, hidden, activation=activation)
        )
        self.depthwise = ConvNormAct(hidden, hidden, kernel, stride, groups=hidden, activation=activation)
        self.gate = nn.Identity() if gate is None else gate
        self.project = ConvNormAct(hidden, out_channels)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.project(self.gate(self.depthwise(self.expand(x))))
        return x + self.drop_path(y) if self.shortcut else y


class MBConv(StridedBlock):
    """[x +] P gate(act(D act(E x))): E a 1x1 expansion, D a depthwise convolution, P a linear 1x1 projection.

    Every convolution is followed by batch norm. The hidden width is `expand` times the input width, rounded; where
    it equals the input width (`expand=1`) E is left out. x is added where stride is 1 and the width stays.

    Args:
        kernel: extent of the depthwise kernel.
        expand: hidden width over input width.
        activation: act; ReLU6 in MobileNetV2, "silu" in EfficientNet.
        gate: acts on the hidden width, after D's activation.
        drop_path: probability of leaving out the residual branch of a sample in training.

    Sandler et al., 2018, MobileNetV2: Inverted Residuals and Linear Bottlenecks; with a gate as in Tan and Le,
    2019, EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks.
    """

    paper: ClassVar[Paper] = Paper(
        title="MobileNetV2: Inverted Residuals and Linear Bottlenecks",
        authors="Mark Sandler, Andrew Howard, Menglong Zhu, Andrey Zhmoginov, Liang-Chieh Chen",
        year=2018,
    )

    kernel: Odd = 3
    expand: Factor = 6.0
    activation: Activation = "relu6"
    gate: Gate | None = None
    drop_path: Probability = 0.0

    def output(self, x: Feature) -> Feature:
        if self.gate is not None:
            kept("gate", self.gate, self._hidden(x))
        return image(self, x).at(self.width, self.stride)

    def build(self, x: Feature) -> nn.Module:
        hidden = self._hidden(x)
        return InvertedResidual(
            x.channels,
            self.output(x).channels,
            hidden.channels,
            self.kernel,
            self.stride,
            self.activation,
            None if self.gate is None else self.gate.build(hidden),
            self.drop_path,
        )

    def _hidden(self, x: Feature) -> Feature:
        return x.at(scaled(x.channels, self.expand), self.stride)

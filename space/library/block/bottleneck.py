"""Residual block with a narrow middle."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor, nn

from archfront.space.library.common import Activation, image, kept, resampled, scaled
from archfront.space.library.layers import ConvNormAct, DropPath, Shortcut, make_activation
from archfront.space.library.operator.conv import Conv
from archfront.space.spec import Factor, Gate, Operator, Paper, Probability, StridedBlock
from archfront.space.types import Feature


class BottleneckBlock(nn.Module):
    """1x1 reduction, a convolution on few channels, 1x1 expansion, and a shortcut around them."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        hidden: int,
        conv: nn.Module,
        stride: int = 1,
        activation: str = "relu",
        gate: nn.Module | None = None,
        pool_shortcut: bool = False,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.reduce = ConvNormAct(in_channels, hidden, activation=activation)
        self.conv = conv
        self.norm = nn.BatchNorm2d(hidden)
        self.act1 = make_activation(activation)
        self.expand = ConvNormAct(hidden, out_channels)
        self.gate = nn.Identity() if gate is None else gate
        self.drop_path = DropPath(drop_path)
        self.shortcut = Shortcut(in_channels, out_channels, stride, pool_shortcut)
        self.act2 = make_activation(activation)

    def forward(self, x: Tensor) -> Tensor:
        branch = self.expand(self.act1(self.norm(self.conv(self.reduce(x)))))
        y: Tensor = self.act2(self.shortcut(x) + self.drop_path(self.gate(branch)))
        return y


class Bottleneck(StridedBlock):
    """act(S x + gate(E act(BN(K act(R x))))): R and E 1x1 convolutions with BN, K on `ratio` times the output width.

    K carries the stride (the variant known as v1.5); S is the identity or a 1x1 convolution with BN. The hidden width
    is rounded to the nearest integer. `operator=Conv(groups=32), ratio=0.5` is ResNeXt 32x4d, `ratio=0.5` alone the
    wide ResNet-50-2.

    Args:
        ratio: hidden width over output width.
        operator: K, a 3x3 convolution in the paper.
        activation: act.
        gate: acts on the residual branch before the addition.
        shortcut: how S changes the type where it must: "projection" strides, "average" averages tiles first (ResNet-D).
        drop_path: probability of leaving out the residual branch of a sample in training.

    He et al., 2016, Deep Residual Learning for Image Recognition; groups from Xie et al., 2017, Aggregated Residual
    Transformations for Deep Neural Networks.
    """

    paper: ClassVar[Paper] = Paper(
        title="Deep Residual Learning for Image Recognition",
        authors="Kaiming He, Xiangyu Zhang, Shaoqing Ren, Jian Sun",
        year=2016,
    )

    ratio: Factor = 0.25
    operator: Operator = Conv(kernel=3)
    activation: Activation = "relu"
    gate: Gate | None = None
    shortcut: Literal["projection", "average"] = "projection"
    drop_path: Probability = 0.0

    def output(self, x: Feature) -> Feature:
        y = image(self, x).at(self.width, self.stride)
        hidden = scaled(y.channels, self.ratio)
        resampled("operator", self.operator.at(hidden, self.stride), x.at(hidden))
        return y if self.gate is None else kept("gate", self.gate, y)

    def build(self, x: Feature) -> nn.Module:
        y = self.output(x)
        hidden = scaled(y.channels, self.ratio)
        return BottleneckBlock(
            x.channels,
            y.channels,
            hidden,
            self.operator.at(hidden, self.stride).build(x.at(hidden)),
            self.stride,
            self.activation,
            None if self.gate is None else self.gate.build(y),
            self.shortcut == "average",
            self.drop_path,
        )

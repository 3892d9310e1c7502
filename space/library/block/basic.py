"""Residual block of two convolutions."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor, nn

from archfront.space.library.common import Activation, image, kept, resampled
from archfront.space.library.layers import DropPath, Shortcut, make_activation
from archfront.space.library.operator.conv import Conv
from archfront.space.spec import Gate, Operator, Paper, Probability, StridedBlock
from archfront.space.types import Feature


class ResidualBlock(nn.Module):
    """Two convolutions with batch norm and a shortcut around them."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        conv1: nn.Module,
        conv2: nn.Module,
        stride: int = 1,
        activation: str = "relu",
        gate: nn.Module | None = None,
        pool_shortcut: bool = False,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.conv1 = conv1
        self.norm1 = nn.BatchNorm2d(out_channels)
        self.act1 = make_activation(activation)
        self.conv2 = conv2
        self.norm2 = nn.BatchNorm2d(out_channels)
        self.gate = nn.Identity() if gate is None else gate
        self.drop_path = DropPath(drop_path)
        self.shortcut = Shortcut(in_channels, out_channels, stride, pool_shortcut)
        self.act2 = make_activation(activation)

    def forward(self, x: Tensor) -> Tensor:
        branch = self.norm2(self.conv2(self.act1(self.norm1(self.conv1(x)))))
        y: Tensor = self.act2(self.shortcut(x) + self.drop_path(self.gate(branch)))
        return y


class BasicBlock(StridedBlock):
    """act(S x + gate(BN(K2 act(BN(K1 x))))): K1 carries the stride, S is the identity or a 1x1 convolution with BN.

    Args:
        operator: the convolutions K1 and K2, a 3x3 convolution in the paper.
        activation: act.
        gate: acts on the residual branch before the addition.
        shortcut: how S changes the type where it must: "projection" strides, "average" averages tiles first (ResNet-D).
        drop_path: probability of leaving out the residual branch of a sample in training.

    He et al., 2016, Deep Residual Learning for Image Recognition; S "average" from He et al., 2019, Bag of Tricks for
    Image Classification with Convolutional Neural Networks.
    """

    paper: ClassVar[Paper] = Paper(
        title="Deep Residual Learning for Image Recognition",
        authors="Kaiming He, Xiangyu Zhang, Shaoqing Ren, Jian Sun",
        year=2016,
    )

    operator: Operator = Conv(kernel=3)
    activation: Activation = "relu"
    gate: Gate | None = None
    shortcut: Literal["projection", "average"] = "projection"
    drop_path: Probability = 0.0

    def output(self, x: Feature) -> Feature:
        y = image(self, x).at(self.width, self.stride)
        resampled("operator", self.operator.at(y.channels, self.stride), x)
        resampled("operator", self.operator.at(y.channels, 1), y)
        return y if self.gate is None else kept("gate", self.gate, y)

    def build(self, x: Feature) -> nn.Module:
        y = self.output(x)
        return ResidualBlock(
            x.channels,
            y.channels,
            self.operator.at(y.channels, self.stride).build(x),
            self.operator.at(y.channels, 1).build(y),
            self.stride,
            self.activation,
            None if self.gate is None else self.gate.build(y),
            self.shortcut == "average",
            self.drop_path,
        )

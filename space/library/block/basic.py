"""Residual block of two convolutions."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor, nn

from archfront.space.library.common import Activation, Finished, image, kept, resampled
from archfront.space.library.layers import DropPath, Shortcut, make_activation
from archfront.space.library.operator.conv import Conv
from archfront.space.spec import Gate, Operator, Paper, Probability, StridedBlock
from archfront.space.types import Feature


class ResidualBlock(nn.Module):
    """Two convolutions with a shortcut around them; behind each batch norm, unless it is one of the `finished`."""

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
        finished: tuple[bool, bool] = (False, False),
    ) -> None:
        super().__init__()
        self.conv1 = conv1
        self.norm1 = nn.Identity() if finished[0] else nn.BatchNorm2d(out_channels)
        self.act1 = nn.Identity() if finished[0] else make_activation(activation)
        self.conv2 = conv2
        self.norm2 = nn.Identity() if finished[1] else nn.BatchNorm2d(out_channels)
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

    An operator that normalises and activates by itself, such as `SelectiveKernel`, has nothing behind it.

    Args:
        operator: K1, a 3x3 convolution in the paper.
        second: K2; None takes the same as K1.
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
    second: Operator | None = None
    activation: Activation = "relu"
    gate: Gate | None = None
    shortcut: Literal["projection", "average"] = "projection"
    drop_path: Probability = 0.0

    def output(self, x: Feature) -> Feature:
        y = image(self, x).at(self.width, self.stride)
        first, second = self._operators(y)
        resampled("operator", first, x)
        resampled("operator" if self.second is None else "second", second, y)
        return y if self.gate is None else kept("gate", self.gate, y)

    def build(self, x: Feature) -> nn.Module:
        y = self.output(x)
        first, second = self._operators(y)
        return ResidualBlock(
            x.channels,
            y.channels,
            first.build(x),
            second.build(y),
            self.stride,
            self.activation,
            None if self.gate is None else self.gate.build(y),
            self.shortcut == "average",
            self.drop_path,
            (isinstance(first, Finished), isinstance(second, Finished)),
        )

    def _operators(self, y: Feature) -> tuple[Operator, Operator]:
        """K1 and K2 for the output y."""
        return self.operator.at(y.channels, self.stride), (self.second or self.operator).at(y.channels, 1)

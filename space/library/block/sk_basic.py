"""Residual block of an operator that normalises and activates by itself, and a convolution."""

from __future__ import annotations

from typing import ClassVar

from torch import nn

from archfront.space.library.block.basic import BasicBlock, ResidualBlock
from archfront.space.library.common import image, kept, resampled
from archfront.space.library.operator.conv import Conv
from archfront.space.library.operator.selective_kernel import SelectiveKernel
from archfront.space.spec import Operator, Paper
from archfront.space.types import Feature


class SelfNormalisedResidualBlock(ResidualBlock):
    """An operator that ends as it wants to, a convolution with batch norm, and a shortcut around them."""

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
        super().__init__(in_channels, out_channels, conv1, conv2, stride, activation, gate, pool_shortcut, drop_path)
        self.norm1 = nn.Identity()  # type: ignore[assignment]
        self.act1 = nn.Identity()


class SKBasic(BasicBlock):
    """act(S x + gate(BN(K2 K1 x))): a `BasicBlock` without normalisation and activation after its first operator.

    Args:
        operator: K1, which carries the stride and brings its own normalisation and activation.
        second: K2.

    Li et al., 2019, Selective Kernel Networks.
    """

    paper: ClassVar[Paper] = SelectiveKernel.paper

    operator: Operator = SelectiveKernel()
    second: Operator = Conv(kernel=3)

    def output(self, x: Feature) -> Feature:
        y = image(self, x).at(self.width, self.stride)
        resampled("operator", self.operator.at(y.channels, self.stride), x)
        resampled("second", self.second.at(y.channels, 1), y)
        return y if self.gate is None else kept("gate", self.gate, y)

    def build(self, x: Feature) -> nn.Module:
        y = self.output(x)
        return SelfNormalisedResidualBlock(
            x.channels,
            y.channels,
            self.operator.at(y.channels, self.stride).build(x),
            self.second.at(y.channels, 1).build(y),
            self.stride,
            self.activation,
            None if self.gate is None else self.gate.build(y),
            self.shortcut == "average",
            self.drop_path,
        )

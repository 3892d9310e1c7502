"""Residual bottleneck around an operator that normalises and activates by itself."""

from __future__ import annotations

from typing import ClassVar

from torch import nn

from archfront.space.library.block.bottleneck import Bottleneck, BottleneckBlock
from archfront.space.library.common import scaled
from archfront.space.library.operator.selective_kernel import SelectiveKernel
from archfront.space.spec import Factor, Operator, Paper
from archfront.space.types import Feature


class SelfNormalisedBottleneckBlock(BottleneckBlock):
    """1x1 reduction, an operator that ends as it wants to, 1x1 expansion, and a shortcut around them."""

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
        super().__init__(in_channels, out_channels, hidden, conv, stride, activation, gate, pool_shortcut, drop_path)
        self.norm = nn.Identity()  # type: ignore[assignment]
        self.act1 = nn.Identity()


class SKBottleneck(Bottleneck):
    """act(S x + gate(E K act(R x))): a `Bottleneck` without normalisation and activation after K.

    For operators that bring their own, such as selective kernels and ghost modules. SKNet has
    `operator=SelectiveKernel(groups=32)`.

    Args:
        ratio: hidden width over output width; 1/2 in SKNet, as in ResNeXt 32x4d.
        operator: K.

    Li et al., 2019, Selective Kernel Networks.
    """

    paper: ClassVar[Paper] = SelectiveKernel.paper

    ratio: Factor = 0.5
    operator: Operator = SelectiveKernel()

    def build(self, x: Feature) -> nn.Module:
        y = self.output(x)
        hidden = scaled(y.channels, self.ratio)
        return SelfNormalisedBottleneckBlock(
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

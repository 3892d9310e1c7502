"""A grouped convolution first, then an expansion and a projection: a block that one kernel can run."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from archfront.space.errors import ShapeError
from archfront.space.library.common import Activation, divisors, image, kept, listed, scaled
from archfront.space.library.layers import ConvNormAct, DropPath
from archfront.space.spec import Factor, Gate, Odd, Paper, Positive, Probability, StridedBlock
from archfront.space.types import Feature


class ConvFirstBlock(nn.Module):
    """Grouped convolution, 1x1 expansion, activation, gate, 1x1 projection; a shortcut where the type stays."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        hidden: int,
        kernel: int = 3,
        stride: int = 1,
        group_width: int = 8,
        activation: str = "silu",
        gate: nn.Module | None = None,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.shortcut = stride == 1 and in_channels == out_channels
        self.grouped = ConvNormAct(in_channels, in_channels, kernel, stride, groups=in_channels // group_width)
        self.expand = ConvNormAct(in_channels, hidden, activation=activation)
        self.gate = nn.Identity() if gate is None else gate
        self.project = ConvNormAct(hidden, out_channels)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.project(self.gate(self.expand(self.grouped(x))))
        return x + self.drop_path(y) if self.shortcut else y


class ConvFirst(StridedBlock):
    """[x +] P gate(act(E G x)): G a grouped convolution, E a 1x1 expansion, P a linear 1x1 projection.

    Every convolution is followed by batch norm; there is no activation after G. The hidden width is `expand` times the
    input width, rounded. x is added where stride is 1 and the width stays. G works on the narrow width, unlike the
    depthwise convolution of `MBConv`, so that a kernel can keep everything between x and y in local memory
    (`archfront.hw_profiles.fusion`).

    Args:
        kernel: extent of the grouped kernel.
        group_width: channels in a group; must divide the input width. 1 makes the convolution depthwise.
        expand: hidden width over input width.
        activation: act.
        gate: acts on the hidden width, after the activation. A block with one cannot run as one kernel.
        drop_path: probability of leaving out the residual branch of a sample in training.

    Raises:
        ShapeError: `group_width` does not divide the input width.

    Lavin, 2024, On the Efficiency of Convolutional Neural Networks.
    """

    paper: ClassVar[Paper] = Paper(
        title="On the Efficiency of Convolutional Neural Networks",
        authors="Andrew Lavin",
        year=2024,
        key="convfirst_block_fusion",
    )

    kernel: Odd = 3
    group_width: Positive = 8
    expand: Factor = 4.0
    activation: Activation = "silu"
    gate: Gate | None = None
    drop_path: Probability = 0.0

    def output(self, x: Feature) -> Feature:
        if image(self, x).channels % self.group_width:
            raise ShapeError(
                f"group_width {self.group_width} does not divide {x.channels} channels; "
                f"use {listed(divisors(x.channels))}"
            )
        if self.gate is not None:
            kept("gate", self.gate, self._hidden(x))
        return x.at(self.width, self.stride)

    def build(self, x: Feature) -> nn.Module:
        hidden = self._hidden(x)
        return ConvFirstBlock(
            x.channels,
            self.output(x).channels,
            hidden.channels,
            self.kernel,
            self.stride,
            self.group_width,
            self.activation,
            None if self.gate is None else self.gate.build(hidden),
            self.drop_path,
        )

    def _hidden(self, x: Feature) -> Feature:
        return x.at(scaled(x.channels, self.expand), self.stride)

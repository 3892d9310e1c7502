"""Residual block of two ghost modules."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from archfront.space.library.common import Activation, image, kept, scaled
from archfront.space.library.layers import ConvNormAct, DropPath
from archfront.space.library.operator.ghost import GhostConv, GhostModule
from archfront.space.spec import Factor, Gate, Odd, Paper, Positive, Probability, StridedBlock
from archfront.space.types import Feature


class SeparableShortcut(nn.Sequential):
    """What a ghost bottleneck adds to its branch: the input, through two small convolutions where the type changes."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        changes = stride != 1 or in_channels != out_channels
        self.depthwise = (
            ConvNormAct(in_channels, in_channels, kernel, stride, groups=in_channels) if changes else nn.Identity()
        )
        self.project = ConvNormAct(in_channels, out_channels) if changes else nn.Identity()


class GhostBottleneckBlock(nn.Module):
    """A ghost module widens, a depthwise convolution strides where asked to, a linear ghost module narrows."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        hidden: int,
        kernel: int = 3,
        stride: int = 1,
        ratio: int = 2,
        cheap_kernel: int = 3,
        primary_kernel: int = 1,
        activation: str = "relu",
        gate: nn.Module | None = None,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.expand = GhostModule(in_channels, hidden, primary_kernel, 1, ratio, cheap_kernel, activation)
        self.reduce = ConvNormAct(hidden, hidden, kernel, stride, groups=hidden) if stride > 1 else nn.Identity()
        self.gate = nn.Identity() if gate is None else gate
        self.project = GhostModule(hidden, out_channels, primary_kernel, 1, ratio, cheap_kernel, "none")
        self.drop_path = DropPath(drop_path)
        self.shortcut = SeparableShortcut(in_channels, out_channels, kernel, stride)

    def forward(self, x: Tensor) -> Tensor:
        branch = self.project(self.gate(self.reduce(self.expand(x))))
        y: Tensor = self.shortcut(x) + self.drop_path(branch)
        return y


class GhostBottleneck(StridedBlock):
    """S x + G2 gate(BN(D G1 x)): G1 and G2 ghost modules, G2 without activation, D depthwise with the stride.

    D and its BN are there only where the stride is above 1. S is the identity, or where the type changes a depthwise
    `kernel` x `kernel` convolution with the stride and a 1x1 convolution, each with BN. G1 widens to `expand` times the
    input width, rounded.

    Args:
        kernel: extent of D and of the depthwise convolution of S.
        expand: hidden width over input width.
        ratio: width of the ghost modules over their intrinsic channels.
        cheap_kernel: extent of the depthwise convolutions that make ghosts.
        primary_kernel: extent of the convolutions that make intrinsic channels.
        activation: of G1.
        gate: acts on the hidden width; `SqueezeExcite(ratio=0.25, gate="hardsigmoid", divisor=4)` in GhostNet.
        drop_path: probability of leaving out the residual branch of a sample in training.

    Han et al., 2020, GhostNet: More Features from Cheap Operations.
    """

    paper: ClassVar[Paper] = GhostConv.paper

    kernel: Odd = 3
    expand: Factor = 3.0
    ratio: Positive = 2
    cheap_kernel: Odd = 3
    primary_kernel: Odd = 1
    activation: Activation = "relu"
    gate: Gate | None = None
    drop_path: Probability = 0.0

    def output(self, x: Feature) -> Feature:
        y = image(self, x).at(self.width, self.stride)
        if self.gate is not None:
            kept("gate", self.gate, self._hidden(x))
        return y

    def build(self, x: Feature) -> nn.Module:
        hidden = self._hidden(x)
        return GhostBottleneckBlock(
            x.channels,
            self.output(x).channels,
            hidden.channels,
            self.kernel,
            self.stride,
            self.ratio,
            self.cheap_kernel,
            self.primary_kernel,
            self.activation,
            None if self.gate is None else self.gate.build(hidden),
            self.drop_path,
        )

    def _hidden(self, x: Feature) -> Feature:
        return x.at(scaled(x.channels, self.expand), self.stride)

"""Inverted residual with a full convolution."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from archfront.space.library.common import Activation, image, kept, scaled
from archfront.space.library.layers import ConvNormAct, DropPath
from archfront.space.spec import Factor, Gate, Odd, Paper, Probability, StridedBlock
from archfront.space.types import Feature


class FusedInvertedResidual(nn.Module):
    """A convolution to the hidden width, gate, linear 1x1 projection; a shortcut where the type stays.

    `hidden=None` lets the convolution yield the output width and leaves the projection out.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        hidden: int | None,
        kernel: int = 3,
        stride: int = 1,
        activation: str = "silu",
        gate: nn.Module | None = None,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.shortcut = stride == 1 and in_channels == out_channels
        self.conv = ConvNormAct(in_channels, hidden or out_channels, kernel, stride, activation=activation)
        self.gate = nn.Identity() if gate is None else gate
        self.project = ConvNormAct(hidden, out_channels) if hidden else nn.Identity()
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.project(self.gate(self.conv(x)))
        return x + self.drop_path(y) if self.shortcut else y


class FusedMBConv(StridedBlock):
    """[x +] P gate(act(K x)): K a `kernel` x `kernel` convolution to the hidden width, P a linear 1x1 projection.

    Every convolution is followed by batch norm. The hidden width is `expand` times the input width, rounded; with
    `expand=1` K yields the output width and P is left out. x is added where stride is 1 and the width stays.

    Args:
        kernel: extent of K.
        expand: hidden width over input width.
        activation: act.
        gate: acts on what K's activation yields.
        drop_path: probability of leaving out the residual branch of a sample in training.

    Tan and Le, 2021, EfficientNetV2: Smaller Models and Faster Training.
    """

    paper: ClassVar[Paper] = Paper(
        title="EfficientNetV2: Smaller Models and Faster Training", authors="Mingxing Tan, Quoc V. Le", year=2021
    )

    kernel: Odd = 3
    expand: Factor = 4.0
    activation: Activation = "silu"
    gate: Gate | None = None
    drop_path: Probability = 0.0

    def output(self, x: Feature) -> Feature:
        if self.gate is not None:
            kept("gate", self.gate, self._gated(x))
        return image(self, x).at(self.width, self.stride)

    def build(self, x: Feature) -> nn.Module:
        gated = self._gated(x)
        return FusedInvertedResidual(
            x.channels,
            self.output(x).channels,
            None if self.expand == 1 else gated.channels,
            self.kernel,
            self.stride,
            self.activation,
            None if self.gate is None else self.gate.build(gated),
            self.drop_path,
        )

    def _gated(self, x: Feature) -> Feature:
        """What the gate is fed."""
        width = self.width if self.expand == 1 else scaled(x.channels, self.expand)
        return x.at(width, self.stride)

"""Inverted residual with its first normalisation in front of the expansion."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor, nn

from archfront.space.library.common import Activation, image, kept, scaled
from archfront.space.library.gate.squeeze_excite import SqueezeExcite
from archfront.space.library.layers import ConvNormAct, DropPath
from archfront.space.spec import Factor, Gate, Odd, Paper, Probability, StridedBlock
from archfront.space.types import Feature


class PooledShortcut(nn.Sequential):
    """The input, averaged over tiles of the stride, through a 1x1 convolution without norm where the width changes."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1, bias: bool = True) -> None:
        super().__init__()
        strided, widened = stride > 1, in_channels != out_channels
        self.pool = nn.AvgPool2d(stride, ceil_mode=True, count_include_pad=False) if strided else nn.Identity()
        self.project = nn.Conv2d(in_channels, out_channels, 1, bias=bias) if widened else nn.Identity()


class PreNormInvertedResidual(nn.Module):
    """Batch norm, 1x1 expansion, depthwise convolution, gate, 1x1 projection without norm; a shortcut around them."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        hidden: int,
        kernel: int = 3,
        stride: int = 1,
        activation: str = "gelu",
        gate: nn.Module | None = None,
        bias: bool = True,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(in_channels)
        self.expand = ConvNormAct(in_channels, hidden, activation=activation)
        self.depthwise = ConvNormAct(hidden, hidden, kernel, stride, groups=hidden, activation=activation)
        self.gate = nn.Identity() if gate is None else gate
        self.project = nn.Conv2d(hidden, out_channels, 1, bias=bias)
        self.drop_path = DropPath(drop_path)
        self.shortcut = PooledShortcut(in_channels, out_channels, stride, bias)

    def forward(self, x: Tensor) -> Tensor:
        branch = self.project(self.gate(self.depthwise(self.expand(self.norm(x)))))
        y: Tensor = self.shortcut(x) + self.drop_path(branch)
        return y


class PreNormMBConv(StridedBlock):
    """S x + P gate(act(BN(D act(BN(E BN(x)))))): E a 1x1 expansion, D a depthwise convolution, P a 1x1 projection.

    D carries the stride. S averages tiles of the stride and widens by a 1x1 convolution where the type changes. P has
    no norm behind it: the next block begins with one.

    Args:
        kernel: extent of the depthwise kernel.
        expand: hidden width over the width that `expand_of` names.
        expand_of: "output" in MaxViT and CoAtNet, "input" in many of their variants.
        activation: act.
        gate: acts on the hidden width; a 16th of it inside, a quarter of the output width, in the paper.
        bias: whether P and S have one.
        drop_path: probability of leaving out the residual branch of a sample in training.

    Tu et al., 2022, MaxViT: Multi-Axis Vision Transformer.
    """

    paper: ClassVar[Paper] = Paper(
        title="MaxViT: Multi-Axis Vision Transformer",
        authors="Zhengzhong Tu, Hossein Talebi, Han Zhang, Feng Yang, Peyman Milanfar, Alan Bovik, Yinxiao Li",
        year=2022,
        key="maxvit",
    )

    kernel: Odd = 3
    expand: Factor = 4.0
    expand_of: Literal["output", "input"] = "output"
    activation: Activation = "gelu"
    gate: Gate | None = SqueezeExcite(ratio=1 / 16, activation="silu")
    bias: bool = True
    drop_path: Probability = 0.0

    def output(self, x: Feature) -> Feature:
        y = image(self, x).at(self.width, self.stride)
        if self.gate is not None:
            kept("gate", self.gate, self._hidden(x, y))
        return y

    def build(self, x: Feature) -> nn.Module:
        y = self.output(x)
        hidden = self._hidden(x, y)
        return PreNormInvertedResidual(
            x.channels,
            y.channels,
            hidden.channels,
            self.kernel,
            self.stride,
            self.activation,
            None if self.gate is None else self.gate.build(hidden),
            self.bias,
            self.drop_path,
        )

    def _hidden(self, x: Feature, y: Feature) -> Feature:
        return y.at(scaled((x if self.expand_of == "input" else y).channels, self.expand))

"""A plain convolution layer as a block."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import nn

from archfront.space.errors import ShapeError
from archfront.space.library.common import image
from archfront.space.library.layers import make_activation, make_norm
from archfront.space.spec import Odd, Paper, Probability, StridedBlock
from archfront.space.types import Feature


def make_pool(kind: str, kernel: int, stride: int) -> nn.Module:
    """Pooling called `kind` to ceil(n / stride): tiles cut off at the border, or overlapping windows, padded."""
    if kind == "none":
        return nn.Identity()
    padding = 0 if kernel == stride else kernel // 2
    if kind == "max":
        return nn.MaxPool2d(kernel, stride, padding, ceil_mode=kernel == stride)
    return nn.AvgPool2d(kernel, stride, padding, ceil_mode=kernel == stride, count_include_pad=False)


class PlainConvLayer(nn.Sequential):
    """Convolution, normalisation, activation, pooling, dropout."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int = 3,
        stride: int = 1,
        padding: int = 1,
        norm: str = "batch",
        activation: str = "relu",
        pool: str = "none",
        pool_kernel: int = 1,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        conv_stride = stride if pool == "none" else 1
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, conv_stride, padding, bias=norm == "none")
        self.norm = make_norm(norm, out_channels)
        self.act = make_activation(activation)
        self.pool = make_pool(pool, pool_kernel, stride)
        self.dropout = nn.Dropout(dropout)


class PlainConv(StridedBlock):
    """dropout(pool(act(norm(W * x + b)))) without any shortcut; the bias b is there where there is no norm.

    The convolution carries the stride, or where a `pool` is chosen the pooling behind it does, so that the ways to
    reduce a map can be compared at equal widths: `PlainConv()` at stride 2 is the learnt pooling of the
    all-convolutional net, `PlainConv(pool="max", pool_kernel=3)` the convolution and pooling that it replaces.

    Args:
        kernel: extent of the kernel.
        norm: after the convolution.
        activation: act.
        padding: "same" keeps ceil(n / stride) positions, "valid" pads nothing and loses kernel - 1 before the stride.
        pool: what carries the stride: the convolution ("none"), or pooling behind the activation. At stride 1 there is
            no pooling.
        pool_kernel: extent of overlapping pooling windows; None takes tiles of the stride.
        dropout: probability of zeroing an entry in training.

    Springenberg et al., 2015, Striving for Simplicity: The All Convolutional Net.
    """

    paper: ClassVar[Paper] = Paper(
        title="Striving for Simplicity: The All Convolutional Net",
        authors="Jost Tobias Springenberg, Alexey Dosovitskiy, Thomas Brox, Martin Riedmiller",
        year=2015,
        key="all_convolutional_net",
    )

    kernel: Odd = 3
    norm: Literal["batch", "layer", "group1", "none"] = "batch"
    activation: Literal["none", "relu", "relu6", "silu", "gelu", "hardswish"] = "relu"
    padding: Literal["same", "valid"] = "same"
    pool: Literal["none", "max", "average"] = "none"
    pool_kernel: Odd | None = None
    dropout: Probability = 0.0

    def output(self, x: Feature) -> Feature:
        image(self, x)
        if self.padding == "same":
            return x.at(self.width, self.stride)
        lost = self.kernel - 1
        if min(x.size) <= lost:
            raise ShapeError(f'kernel {self.kernel} with padding "valid" is larger than {x}; use padding "same"')
        return Feature(x.channels, tuple(n - lost for n in x.size)).at(self.width, self.stride)

    def build(self, x: Feature) -> nn.Module:
        return PlainConvLayer(
            x.channels,
            self.output(x).channels,
            self.kernel,
            self.stride,
            self.kernel // 2 if self.padding == "same" else 0,
            self.norm,
            self.activation,
            self.pool if self.stride > 1 else "none",
            self.pool_kernel or self.stride,
            self.dropout,
        )

"""A plain convolution on the image, with dropout of pixels."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import nn

from archfront.space.errors import ShapeError
from archfront.space.library.common import image
from archfront.space.library.layers import make_activation, make_norm
from archfront.space.spec import Odd, Paper, Positive, Probability, Stem
from archfront.space.types import Feature


class PlainStemLayer(nn.Sequential):
    """Dropout, convolution, normalisation, activation."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int = 3,
        stride: int = 1,
        padding: int = 1,
        norm: str = "none",
        activation: str = "relu",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, stride, padding, bias=norm == "none")
        self.norm = make_norm(norm, out_channels)
        self.act = make_activation(activation)


class PlainStem(Stem):
    """act(norm(W * dropout(x) + b)); the bias b is there where there is no norm.

    Args:
        kernel: extent of the kernel.
        stride: of the convolution.
        padding: "same" yields ceil(n / stride) positions, "valid" pads nothing.
        norm: after the convolution; none in the all-convolutional net.
        activation: act.
        dropout: probability of zeroing a value of the image in training.

    Springenberg et al., 2015, Striving for Simplicity: The All Convolutional Net.
    """

    paper: ClassVar[Paper] = Paper(
        title="Striving for Simplicity: The All Convolutional Net",
        authors="Jost Tobias Springenberg, Alexey Dosovitskiy, Thomas Brox, Martin Riedmiller",
        year=2015,
        key="all_convolutional_net",
    )

    kernel: Odd = 3
    stride: Positive = 1
    padding: Literal["same", "valid"] = "same"
    norm: Literal["batch", "layer", "group1", "none"] = "none"
    activation: Literal["none", "relu", "relu6", "silu", "gelu", "hardswish"] = "relu"
    dropout: Probability = 0.0

    def output(self, x: Feature) -> Feature:
        lost = 0 if self.padding == "same" else self.kernel - 1
        if min(image(self, x).size) <= lost:
            raise ShapeError(f'kernel {self.kernel} with padding "valid" is larger than {x}; use padding "same"')
        return Feature(x.channels, tuple(n - lost for n in x.size)).at(self.width, self.stride)

    def build(self, x: Feature) -> nn.Module:
        self.output(x)
        padding = self.kernel // 2 if self.padding == "same" else 0
        return PlainStemLayer(
            x.channels, self.width, self.kernel, self.stride, padding, self.norm, self.activation, self.dropout
        )

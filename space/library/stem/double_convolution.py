"""Two 3x3 convolutions as the entry of a network."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import nn

from archfront.space.library.common import image
from archfront.space.library.layers import make_activation, make_norm
from archfront.space.spec import Paper, Positive, Stem
from archfront.space.types import Feature


class DoubleStemConv(nn.Sequential):
    """3x3 convolution, normalisation, activation, 3x3 convolution, normalisation."""

    def __init__(
        self,
        in_channels: int,
        hidden: int,
        out_channels: int,
        strides: tuple[int, int] = (2, 2),
        norm: str = "batch",
        activation: str = "gelu",
        last_norm: str = "batch",
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, hidden, 3, strides[0], padding=1, bias=bias)
        self.norm1 = make_norm(norm, hidden)
        self.act = make_activation(activation)
        self.conv2 = nn.Conv2d(hidden, out_channels, 3, strides[1], padding=1, bias=bias)
        self.norm2 = make_norm(last_norm, out_channels)


class DoubleConvStem(Stem):
    """last_norm(W2 * act(norm(W1 * x + b1)) + b2): two 3x3 convolutions, by default each with stride 2.

    With its defaults it is the convolutional stem of UniFormer, with `norm="layer", last_norm="layer"` that of
    UniRepLKNet, with `hidden=width, strides=(2, 1), last_norm="none"` that of MaxViT.

    Args:
        hidden: channels between the two; None takes half the width.
        strides: of the two convolutions; sizes become ceil(n / stride) twice.
        norm, activation: after the first convolution.
        last_norm: after the second one; no activation follows.
        bias: whether the convolutions have one.

    Xiao et al., 2021, Early Convolutions Help Transformers See Better.
    """

    paper: ClassVar[Paper] = Paper(
        title="Early Convolutions Help Transformers See Better",
        authors="Tete Xiao, Mannat Singh, Eric Mintun, Trevor Darrell, Piotr Dollár, Ross Girshick",
        year=2021,
    )

    hidden: Positive | None = None
    strides: tuple[Positive, Positive] = (2, 2)
    norm: Literal["batch", "layer", "group1", "none"] = "batch"
    activation: Literal["none", "relu", "relu6", "silu", "gelu", "hardswish"] = "gelu"
    last_norm: Literal["batch", "layer", "group1", "none"] = "batch"
    bias: bool = True

    def output(self, x: Feature) -> Feature:
        first, second = self.strides
        return image(self, x).at(self.width, first).at(stride=second)

    def build(self, x: Feature) -> nn.Module:
        self.output(x)
        hidden = self.hidden or max(1, self.width // 2)
        return DoubleStemConv(
            x.channels, hidden, self.width, self.strides, self.norm, self.activation, self.last_norm, self.bias
        )

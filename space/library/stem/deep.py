"""Several small convolutions as the entry of a network."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from torch import Tensor, nn

from archfront.space.errors import ShapeError
from archfront.space.library.common import image
from archfront.space.library.layers import make_activation, make_norm
from archfront.space.spec import Odd, Paper, Positive, Rule, Stem
from archfront.space.types import Feature


class StemLayer(nn.Sequential):
    """Convolution without bias, normalisation, activation."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int = 3,
        stride: int = 1,
        padding: int = 1,
        norm: str = "batch",
        activation: str = "relu",
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, stride, padding, bias=False)
        self.norm = make_norm(norm, out_channels)
        self.act = make_activation(activation)


class StackedStem(nn.Module):
    """Convolutions in sequence, each with normalisation and activation, and on request a 3x3 max-pooling."""

    def __init__(
        self,
        in_channels: int,
        widths: tuple[int, ...],
        strides: tuple[int, ...],
        kernel: int = 3,
        padding: int = 1,
        norm: str = "batch",
        activation: str = "relu",
        pool: bool = False,
    ) -> None:
        super().__init__()
        inputs = (in_channels, *widths[:-1])
        self.layers = nn.Sequential(
            *(
                StemLayer(before, after, kernel, stride, padding, norm, activation)
                for before, after, stride in zip(inputs, widths, strides, strict=True)
            )
        )
        self.pool = nn.MaxPool2d(3, 2, padding=1) if pool else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.pool(self.layers(x))
        return y


class DeepStem(Stem):
    """pool(K_n ... K_1 x), each K_i an act(norm(W_i * x)) with W_i a convolution without bias.

    `DeepStem(width=64, pool=True)` is the stem of ResNeSt-50 and of the "d" variants of ResNet, with `hidden=(24, 32)`
    the tiered one, with `hidden=(64, 32, 64), strides=(2, 1, 1, 2)` that of Next-ViT, with `hidden=(32,),
    strides=(2, 1), padding="valid"` that of Xception.

    Args:
        width: channels of the last convolution.
        hidden: channels of those before it.
        strides: one a convolution.
        kernel: extent of all of them.
        norm, activation: after each of them.
        padding: "same" makes sizes ceil(n / stride); "valid" takes no zeros: (n - kernel) // stride + 1.
        pool: end with a 3x3 max-pooling of stride 2.

    He et al., 2019, Bag of Tricks for Image Classification with Convolutional Neural Networks.
    """

    paper: ClassVar[Paper] = Paper(
        title="Bag of Tricks for Image Classification with Convolutional Neural Networks",
        authors="Tong He, Zhi Zhang, Hang Zhang, Zhongyue Zhang, Junyuan Xie, Mu Li",
        year=2019,
    )

    hidden: tuple[Positive, ...] = (32, 32)
    strides: Annotated[tuple[Positive, ...], Rule("a tuple of at least one positive integer", len)] = (2, 1, 1)
    kernel: Odd = 3
    norm: Literal["batch", "layer", "group1"] = "batch"
    activation: Literal["none", "relu", "relu6", "silu", "gelu", "hardswish"] = "relu"
    padding: Literal["same", "valid"] = "same"
    pool: bool = False

    def output(self, x: Feature) -> Feature:
        if len(self.strides) != len(self.hidden) + 1:
            raise ShapeError(
                f"strides {self.strides} must be one more than hidden {self.hidden}, one for every convolution"
            )
        y = image(self, x)
        for stride in self.strides:
            y = y.at(stride=stride) if self.padding == "same" else self._inside(y, stride)
        return y.at(self.width, 2 if self.pool else 1)

    def build(self, x: Feature) -> nn.Module:
        self.output(x)
        padding = self.kernel // 2 if self.padding == "same" else 0
        widths = (*self.hidden, self.width)
        return StackedStem(
            x.channels, widths, self.strides, self.kernel, padding, self.norm, self.activation, self.pool
        )

    def _inside(self, x: Feature, stride: int) -> Feature:
        if min(x.size) < self.kernel:
            raise ShapeError(
                f"kernel {self.kernel} without padding is larger than {'x'.join(map(str, x.size))}; use padding='same'"
            )
        return Feature(x.channels, tuple((n - self.kernel) // stride + 1 for n in x.size))

"""A strided convolution as the entry of a network."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import nn

from archfront.space.library.common import image
from archfront.space.library.layers import make_activation, make_norm
from archfront.space.spec import Odd, Paper, Positive, Stem
from archfront.space.types import Feature


class StemConv(nn.Sequential):
    """Convolution, normalisation, activation, and on request a 3x3 max-pooling with stride 2."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int = 3,
        stride: int = 2,
        norm: str = "batch",
        activation: str = "relu",
        pool: bool = False,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, stride, padding=kernel // 2, bias=False)
        self.norm = make_norm(norm, out_channels)
        self.act = make_activation(activation)
        self.pool = nn.MaxPool2d(3, 2, padding=1) if pool else nn.Identity()


class ConvStem(Stem):
    """pool(act(norm(W * x))), W without bias: sizes become ceil(n / stride), and with `pool` half of that again.

    `ConvStem(width=64, kernel=7, stride=2, pool=True)` is the stem of ResNet, `ConvStem(width=32)` that of
    MobileNetV2 but for its ReLU6. A pre-activation network takes `norm="none", activation="none"`.

    He et al., 2016, Deep Residual Learning for Image Recognition.
    """

    paper: ClassVar[Paper] = Paper(
        title="Deep Residual Learning for Image Recognition",
        authors="Kaiming He, Xiangyu Zhang, Shaoqing Ren, Jian Sun",
        year=2016,
    )

    kernel: Odd = 3
    stride: Positive = 2
    norm: Literal["batch", "layer", "group1", "none"] = "batch"
    activation: Literal["none", "relu", "relu6", "silu", "gelu", "hardswish"] = "relu"
    pool: bool = False

    def output(self, x: Feature) -> Feature:
        return image(self, x).at(self.width, self.stride).at(stride=2 if self.pool else 1)

    def build(self, x: Feature) -> nn.Module:
        image(self, x)
        return StemConv(x.channels, self.width, self.kernel, self.stride, self.norm, self.activation, self.pool)

"""A strided convolution and a depthwise separable one as the entry of a network."""

from __future__ import annotations

from typing import ClassVar

from torch import nn

from archfront.space.library.common import Activation, image
from archfront.space.library.layers import ConvNormAct, make_activation
from archfront.space.spec import Paper, Stem
from archfront.space.types import Feature


class SeparableStemConv(nn.Sequential):
    """3x3 convolution with stride 2, depthwise 3x3 convolution, each with norm and activation, 1x1 convolution."""

    def __init__(self, in_channels: int, out_channels: int, activation: str = "silu") -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 3, 2, padding=1)
        self.norm = nn.BatchNorm2d(out_channels)
        self.act = make_activation(activation)
        self.depthwise = ConvNormAct(out_channels, out_channels, 3, groups=out_channels, activation=activation)
        self.project = nn.Conv2d(out_channels, out_channels, 1, bias=False)


class SeparableStem(Stem):
    """W1x1 act(BN(D act(BN(K * x + b)))): K a 3x3 convolution with stride 2, D a depthwise 3x3 convolution.

    Nothing follows W: the next block begins with a normalisation. Sizes become ceil(n / 2).

    Zhang et al., 2024, EMOv2: Pushing 5M Vision Model Frontier.
    """

    paper: ClassVar[Paper] = Paper(
        title="EMOv2: Pushing 5M Vision Model Frontier",
        authors="Jiangning Zhang, Teng Hu, Haoyang He, Zhucun Xue, Yabiao Wang, Chengjie Wang, Yong Liu, Xiangtai Li, "
        "Dacheng Tao",
        year=2024,
        key="i2rmb",
    )

    activation: Activation = "silu"

    def output(self, x: Feature) -> Feature:
        return image(self, x).at(self.width, 2)

    def build(self, x: Feature) -> nn.Module:
        return SeparableStemConv(image(self, x).channels, self.width, self.activation)

"""A weight for every channel of every position."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from archfront.space.library.common import image
from archfront.space.spec import Gate, Paper
from archfront.space.types import Feature


class PixelGate(nn.Module):
    """Scales every entry of a map by a weight in (0, 1) computed from its position."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = x * self.conv(x).sigmoid()
        return y


class PixelAttention(Gate):
    """x * sigmoid(W x + b): W a 1x1 convolution C -> C, so every entry of the map has a weight of its own; no pooling.

    Zhao et al., 2020, Efficient Image Super-Resolution Using Pixel Attention.
    """

    paper: ClassVar[Paper] = Paper(
        title="Efficient Image Super-Resolution Using Pixel Attention",
        authors="Hengyuan Zhao, Xiangtao Kong, Jingwen He, Yu Qiao, Chao Dong",
        year=2020,
        key="pan_pixel_attention",
    )

    def output(self, x: Feature) -> Feature:
        return image(self, x)

    def build(self, x: Feature) -> nn.Module:
        return PixelGate(image(self, x).channels)

"""Local relation aggregation of UniFormer."""

from __future__ import annotations

from typing import ClassVar

from torch import nn

from archfront.space.library.common import image
from archfront.space.spec import Mixer, Odd, Paper
from archfront.space.types import Feature


class LocalAffinityConv(nn.Sequential):
    """1x1 convolution, depthwise convolution, 1x1 convolution, nothing between them."""

    def __init__(self, channels: int, kernel: int = 5) -> None:
        super().__init__()
        self.value = nn.Conv2d(channels, channels, 1)
        self.affinity = nn.Conv2d(channels, channels, kernel, padding=kernel // 2, groups=channels)
        self.project = nn.Conv2d(channels, channels, 1)


class LocalAffinity(Mixer):
    """U (A * (V x + b)) + c: values V x are mixed in a neighbourhood by learnt weights A, one for each offset.

    It has the shape of attention with fixed weights: A is a depthwise `kernel` x `kernel` convolution between linear
    maps V and U of the channels, with no activation between the three.

    Li et al., 2023, UniFormer: Unifying Convolution and Self-attention for Visual Recognition.
    """

    paper: ClassVar[Paper] = Paper(
        title="UniFormer: Unifying Convolution and Self-attention for Visual Recognition",
        authors="Kunchang Li, Yali Wang, Junhao Zhang, Peng Gao, Guanglu Song, Yu Liu, Hongsheng Li, Yu Qiao",
        year=2023,
        key="uniformer",
    )

    kernel: Odd = 5

    def output(self, x: Feature) -> Feature:
        return image(self, x)

    def build(self, x: Feature) -> nn.Module:
        return LocalAffinityConv(image(self, x).channels, self.kernel)

"""Depthwise convolution as a mixer of positions."""

from __future__ import annotations

from typing import ClassVar

from torch import nn

from archfront.space.library.common import image
from archfront.space.spec import Mixer, Odd, Paper
from archfront.space.types import Feature


class LargeKernel(Mixer):
    """y_c = k_c * x_c + b_c: a "same"-padded depthwise convolution with a large kernel.

    7 is ConvNeXt's extent; kernels up to 31 work, with care in training, in RepLKNet.

    Ding et al., 2022, Scaling Up Your Kernels to 31x31: Revisiting Large Kernel Design in CNNs; Liu et al., 2022,
    A ConvNet for the 2020s.
    """

    paper: ClassVar[Paper] = Paper(
        title="Scaling Up Your Kernels to 31x31: Revisiting Large Kernel Design in CNNs",
        authors="Xiaohan Ding, Xiangyu Zhang, Yizhuang Zhou, Jungong Han, Guiguang Ding, Jian Sun",
        year=2022,
    )

    kernel: Odd = 7

    def output(self, x: Feature) -> Feature:
        return image(self, x)

    def build(self, x: Feature) -> nn.Module:
        channels = image(self, x).channels
        return nn.Conv2d(channels, channels, self.kernel, padding=self.kernel // 2, groups=channels)

"""A mixer of positions between two projections."""

from __future__ import annotations

from typing import ClassVar

from torch import nn

from archfront.space.library.common import image, kept
from archfront.space.library.mixer.large_kernel import LargeKernel
from archfront.space.spec import Mixer, Paper
from archfront.space.types import Feature


class ProjectedMixing(nn.Sequential):
    """1x1 convolution, a mixer, 1x1 convolution."""

    def __init__(self, channels: int, mixer: nn.Module) -> None:
        super().__init__()
        self.project_in = nn.Conv2d(channels, channels, 1)
        self.mixer = mixer
        self.project_out = nn.Conv2d(channels, channels, 1)


class ProjectedMixer(Mixer):
    """W2 mixer(W1 x + b1) + b2: gives a mixer without linear maps of its own the two that attention has.

    Depthwise convolution, pooling and the like then cost as much as attention in mixing channels, so that comparing them
    compares how they mix positions.

    Args:
        mixer: what stands between the projections; a depthwise 7x7 convolution in U-ConvNeXt.

    Hu et al., 2025, Demystify Transformers & Convolutions in Modern Image Deep Networks.
    """

    paper: ClassVar[Paper] = Paper(
        title="Demystify Transformers & Convolutions in Modern Image Deep Networks",
        authors="Xiaowei Hu, Min Shi, Weiyun Wang, Sitong Wu, Linjie Xing, Wenhai Wang, Xizhou Zhu, Lewei Lu, Jie Zhou, "
        "Xiaogang Wang, Yu Qiao, Jifeng Dai",
        year=2025,
        key="unified_stm_metaarch",
    )

    mixer: Mixer = LargeKernel(kernel=7)

    def output(self, x: Feature) -> Feature:
        return kept("mixer", self.mixer, image(self, x))

    def build(self, x: Feature) -> nn.Module:
        return ProjectedMixing(self.output(x).channels, self.mixer.build(x))

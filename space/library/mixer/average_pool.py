"""Average pooling as a mixer of positions."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from archfront.space.library.common import image
from archfront.space.spec import Mixer, Odd, Paper
from archfront.space.types import Feature


class AveragePoolMixer(nn.Module):
    """The mean of the neighbourhood minus the position itself."""

    def __init__(self, kernel: int = 3) -> None:
        super().__init__()
        self.pool = nn.AvgPool2d(kernel, stride=1, padding=kernel // 2, count_include_pad=False)

    def forward(self, x: Tensor) -> Tensor:
        pooled: Tensor = self.pool(x)
        return pooled - x


class AveragePool(Mixer):
    """mean_{kernel x kernel}(x) - x, the mean over positions inside the map; no parameters.

    The residual connection around it adds x back, so a block computes the mean.

    Yu et al., 2022, MetaFormer Is Actually What You Need for Vision.
    """

    paper: ClassVar[Paper] = Paper(
        title="MetaFormer Is Actually What You Need for Vision",
        authors="Weihao Yu, Mi Luo, Pan Zhou, Chenyang Si, Yichen Zhou, Xinchao Wang, Jiashi Feng, Shuicheng Yan",
        year=2022,
    )

    kernel: Odd = 3

    def output(self, x: Feature) -> Feature:
        return image(self, x)

    def build(self, x: Feature) -> nn.Module:
        image(self, x)
        return AveragePoolMixer(self.kernel)

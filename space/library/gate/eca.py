"""Efficient channel attention."""

from __future__ import annotations

import math
from typing import ClassVar

from torch import Tensor, nn

from archfront.space.spec import Factor, Gate, Odd, Paper
from archfront.space.types import Feature


class EfficientChannelAttention(nn.Module):
    """Scales every channel by a weight computed from the means of `kernel` neighbouring channels."""

    def __init__(self, kernel: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(1, 1, kernel, padding=kernel // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        means = x.mean(tuple(range(2, x.ndim)))
        weights: Tensor = self.conv(means[:, None]).sigmoid()[:, 0]
        return x * weights.reshape(*weights.shape, *[1] * (x.ndim - 2))


class ECA(Gate):
    """x * sigmoid(k * z), z the mean of every channel over all positions, convolved along the channels, zeros outside.

    The extent of k grows with the number of channels C: it is t = floor(|log2(C) + b| / gamma), or t + 1 where t is
    even. Takes any number of dimensions.

    Args:
        kernel: extent of k; None takes the rule above.
        gamma: larger values give smaller kernels.
        b: offset of the rule.

    Wang et al., 2020, ECA-Net: Efficient Channel Attention for Deep Convolutional Neural Networks.
    """

    paper: ClassVar[Paper] = Paper(
        title="ECA-Net: Efficient Channel Attention for Deep Convolutional Neural Networks",
        authors="Qilong Wang, Banggu Wu, Pengfei Zhu, Peihua Li, Wangmeng Zuo, Qinghua Hu",
        year=2020,
    )

    kernel: Odd | None = None
    gamma: Factor = 2.0
    b: float = 1.0

    def build(self, x: Feature) -> nn.Module:
        extent = int(abs(math.log2(x.channels) + self.b) / self.gamma)
        return EfficientChannelAttention(self.kernel or extent + 1 - extent % 2)

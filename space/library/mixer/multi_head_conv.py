"""Convolution of groups of channels as heads, mixed by a projection."""

from __future__ import annotations

from typing import ClassVar

from torch import nn

from archfront.space.library.common import head_count, image
from archfront.space.spec import Mixer, Odd, Paper, Positive
from archfront.space.types import Feature


class MultiHeadConv2d(nn.Sequential):
    """Grouped convolution, batch norm, ReLU, 1x1 projection; no biases."""

    def __init__(self, channels: int, heads: int, kernel: int = 3) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, kernel, padding=kernel // 2, groups=heads, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        self.act = nn.ReLU()
        self.project = nn.Conv2d(channels, channels, 1, bias=False)


class MultiHeadConv(Mixer):
    """P relu(BN(K * x)): K a convolution in one group for every `head_dim` channels, P a 1x1 projection, without bias.

    Next-ViT's multi-head convolutional attention.

    Args:
        head_dim: channels of a head; divides the width. 32 in the paper.
        kernel: extent of K.

    Li et al., 2022, Next-ViT: Next Generation Vision Transformer for Efficient Deployment in Realistic Industrial
    Scenarios.
    """

    paper: ClassVar[Paper] = Paper(
        title="Next-ViT: Next Generation Vision Transformer for Efficient Deployment in Realistic Industrial Scenarios",
        authors="Jiashi Li, Xin Xia, Wei Li, Huixia Li, Xing Wang, Xuefeng Xiao, Rui Wang, Min Zheng, Xin Pan",
        year=2022,
        key="nextvit",
    )

    head_dim: Positive = 16
    kernel: Odd = 3

    def output(self, x: Feature) -> Feature:
        head_count(image(self, x).channels, None, self.head_dim)
        return x

    def build(self, x: Feature) -> nn.Module:
        channels = self.output(x).channels
        return MultiHeadConv2d(channels, channels // self.head_dim, self.kernel)

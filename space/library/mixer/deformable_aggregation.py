"""Weighted sums over the moved taps of a kernel: deformable convolution without kernels, version 3."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from archfront.space.library.common import head_count, image
from archfront.space.library.layers import LayerNorm2d
from archfront.space.library.layers_sampling import sampled_taps
from archfront.space.spec import Mixer, Odd, Paper, Positive
from archfront.space.types import Feature


class DeformableAggregator(nn.Module):
    """At every position of a map (N, C, H, W) each group of channels adds up its values at moved and weighted taps."""

    def __init__(self, channels: int, groups: int, kernel: int = 3, query_kernel: int = 3) -> None:
        super().__init__()
        self.groups = groups
        self.kernel = kernel
        taps = groups * kernel**2
        self.depthwise = nn.Conv2d(channels, channels, query_kernel, padding=query_kernel // 2, groups=channels)
        self.norm = LayerNorm2d(channels)
        self.act = nn.GELU()
        self.offset = nn.Conv2d(channels, 2 * taps, 1)
        self.score = nn.Conv2d(channels, taps, 1)
        for parameter in (*self.offset.parameters(), *self.score.parameters()):
            nn.init.zeros_(parameter)
        self.value = nn.Conv2d(channels, channels, 1)
        self.project = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        query = self.act(self.norm(self.depthwise(x)))
        size = x.shape[2:]
        offsets = self.offset(query).reshape(-1, self.groups, self.kernel**2, 2, *size)
        weights = self.score(query).reshape(-1, self.groups, 1, self.kernel**2, *size).softmax(3)
        values = sampled_taps(self.value(x), offsets, self.kernel)
        y: Tensor = self.project((weights * values).sum(3).flatten(1, 2))
        return y


class DeformableAggregation(Mixer):
    """y(p) = W sum_k m_k(p) v(p + p_k + d_k(p)) in each group of channels, k the taps of a kernel, v linear.

    The displacements d and the scores, of which m is the softmax over the taps, are linear maps of
    q = gelu(norm(D * x)), D depthwise and norm over the channels of a position; both start at zero, so that the layer
    starts as an average over the kernel. v is bilinear between positions and zero outside the map. All linear maps and D
    have a bias. Known as DCNv3.

    Args:
        kernel: extent of the kernel whose taps move.
        query_kernel: extent of D.
        head_dim: channels of a group; divides the width.
        heads: number of groups; None takes as many as `head_dim` says.

    Wang et al., 2023, InternImage: Exploring Large-Scale Vision Foundation Models with Deformable Convolutions; q with a
    norm of its own as in Hu et al., 2025, Demystify Transformers & Convolutions in Modern Image Deep Networks.
    """

    paper: ClassVar[Paper] = Paper(
        title="InternImage: Exploring Large-Scale Vision Foundation Models with Deformable Convolutions",
        authors="Wenhai Wang, Jifeng Dai, Zhe Chen, Zhenhang Huang, Zhiqi Li, Xizhou Zhu, Xiaowei Hu, Tong Lu, Lewei Lu, "
        "Hongsheng Li, Xiaogang Wang, Yu Qiao",
        year=2023,
    )

    kernel: Odd = 3
    query_kernel: Odd = 3
    head_dim: Positive = 16
    heads: Positive | None = None

    def output(self, x: Feature) -> Feature:
        head_count(image(self, x).channels, self.heads, self.head_dim)
        return x

    def build(self, x: Feature) -> nn.Module:
        channels = self.output(x).channels
        groups = head_count(channels, self.heads, self.head_dim)
        return DeformableAggregator(channels, groups, self.kernel, self.query_kernel)

"""Self-attention over all positions with a depthwise convolution beside it."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch.nn.functional as F
from torch import Tensor, nn

from archfront.space.library.common import head_count, image
from archfront.space.spec import Mixer, Odd, Paper, Positive
from archfront.space.types import Feature


class LocallyEnhancedSelfAttention(nn.Module):
    """Every position attends to every position; a depthwise convolution of the input or of the values is added."""

    fused_outputs: ClassVar[dict[str, int]] = {"qkv": 3}

    def __init__(
        self, channels: int, heads: int, kernel: int = 5, source: str = "input", qkv_bias: bool = False
    ) -> None:
        super().__init__()
        self.heads = heads
        self.source = source
        self.qkv = nn.Conv2d(channels, 3 * channels, 1, bias=qkv_bias)
        self.local = nn.Conv2d(channels, channels, kernel, padding=kernel // 2, groups=channels)
        self.project = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        qkv = self.qkv(x)
        heads = qkv.flatten(2).unflatten(1, (3, self.heads, -1)).transpose(-1, -2)
        # head dim innermost: the CPU's fused attention takes no other layout, and falls back to L x L matrices
        query, key, value = heads.contiguous().unbind(1)
        mixed = F.scaled_dot_product_attention(query, key, value).transpose(-1, -2).reshape(x.shape)
        near = self.local(x if self.source == "input" else qkv.chunk(3, 1)[2])
        y: Tensor = self.project(mixed + near)
        return y


class LocallyEnhancedAttention(Mixer):
    """W (softmax(Q K^T / sqrt(d)) V + D z) over all positions: D a depthwise convolution with bias, d = C / heads.

    The released BiFormer uses it in its last stage with z the input of the mixer and no bias for Q, K and V; its paper
    takes z = V.

    Args:
        head_dim: channels of a head; divides the width.
        heads: number of heads; None takes as many as `head_dim` says.
        kernel: extent of D.
        source: z, the "input" or the "value".
        qkv_bias: whether Q, K and V have a bias.

    Zhu et al., 2023, BiFormer: Vision Transformer with Bi-Level Routing Attention; D from Ren et al., 2022, Shunted
    Self-Attention via Multi-Scale Token Aggregation.
    """

    paper: ClassVar[Paper] = Paper(
        title="BiFormer: Vision Transformer with Bi-Level Routing Attention",
        authors="Lei Zhu, Xinjiang Wang, Zhanghan Ke, Wayne Zhang, Rynson W. H. Lau",
        year=2023,
    )

    head_dim: Positive = 16
    heads: Positive | None = None
    kernel: Odd = 5
    source: Literal["input", "value"] = "input"
    qkv_bias: bool = False

    def output(self, x: Feature) -> Feature:
        head_count(image(self, x).channels, self.heads, self.head_dim)
        return x

    def build(self, x: Feature) -> nn.Module:
        channels = image(self, x).channels
        heads = head_count(channels, self.heads, self.head_dim)
        return LocallyEnhancedSelfAttention(channels, heads, self.kernel, self.source, self.qkv_bias)

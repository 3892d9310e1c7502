"""Multi-head self-attention over all positions of a feature map."""

from __future__ import annotations

from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from archfront.space.library.common import head_count, image
from archfront.space.spec import Mixer, Paper, Positive
from archfront.space.types import Feature


class MultiHeadSelfAttention2d(nn.Module):
    """Every position of a feature map (N, C, H, W) attends to every position."""

    fused_outputs: ClassVar[dict[str, int]] = {"qkv": 3}

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.project = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        heads = self.qkv(x).flatten(2).unflatten(1, (3, self.heads, -1)).transpose(-1, -2)
        # head dim innermost: the CPU's fused attention takes no other layout, and falls back to L x L matrices
        query, key, value = heads.contiguous().unbind(1)
        mixed = F.scaled_dot_product_attention(query, key, value)
        y: Tensor = self.project(mixed.transpose(-1, -2).reshape(x.shape))
        return y


class SelfAttention(Mixer):
    """softmax(Q K^T / sqrt(d)) V in each head, over all positions, then a projection; no position bias.

    Q, K, V and the projection are linear maps of the channels with bias; d = C / heads. Cost grows with the square of
    the number of positions.

    Args:
        head_dim: channels of a head; divides the width.
        heads: number of heads; None takes as many as `head_dim` says.

    Vaswani et al., 2017, Attention Is All You Need.
    """

    paper: ClassVar[Paper] = Paper(
        title="Attention Is All You Need",
        authors="Ashish Vaswani, Noam Shazeer, Niki Parmar, Jakob Uszkoreit, Llion Jones, Aidan N. Gomez, "
        "Łukasz Kaiser, Illia Polosukhin",
        year=2017,
    )

    head_dim: Positive = 16
    heads: Positive | None = None

    def output(self, x: Feature) -> Feature:
        head_count(image(self, x).channels, self.heads, self.head_dim)
        return x

    def build(self, x: Feature) -> nn.Module:
        channels = image(self, x).channels
        return MultiHeadSelfAttention2d(channels, head_count(channels, self.heads, self.head_dim))

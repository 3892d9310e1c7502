"""Self-attention whose keys and values are averages over runs of tokens."""

from __future__ import annotations

from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from archfront.space.errors import ShapeError
from archfront.space.library.common import head_count, image
from archfront.space.spec import Mixer, Paper, Positive
from archfront.space.types import Feature


class PooledTokenSelfAttention(nn.Module):
    """Every position of a feature map (N, C, H, W) attends to averages over `run` positions, counted row by row."""

    fused_outputs: ClassVar[dict[str, int]] = {"key_value": 2}

    def __init__(self, channels: int, heads: int, run: int = 1) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Conv1d(channels, channels, 1)
        self.pool = nn.AvgPool1d(run) if run > 1 else nn.Identity()
        self.norm = nn.BatchNorm1d(channels) if run > 1 else nn.Identity()
        self.key_value = nn.Conv1d(channels, 2 * channels, 1)
        self.project = nn.Conv1d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(2)
        # head dim innermost: the CPU's fused attention takes no other layout, and falls back to L x L matrices
        query = self.query(tokens).unflatten(1, (self.heads, -1)).transpose(-1, -2).contiguous()
        key_value = self.key_value(self.norm(self.pool(tokens))).unflatten(1, (2, self.heads, -1))
        key, value = key_value.transpose(-1, -2).contiguous().unbind(1)
        mixed = F.scaled_dot_product_attention(query, key, value)
        y: Tensor = self.project(mixed.transpose(-1, -2).flatten(1, 2))
        return y.reshape(x.shape)


class PooledTokenAttention(Mixer):
    """softmax(Q K^T / sqrt(d)) V in each head, then a projection; K and V from BN of averages over `ratio`^2 tokens.

    The tokens are the positions row by row, and an average is over consecutive ones, not over a tile of the map; tokens
    left over at the end are not read. Q, K, V and the projection are linear maps of the channels with bias; d is
    `head_dim`. With `ratio=1` it is plain attention over all positions. Next-ViT's efficient multi-head self-attention.

    Args:
        ratio: its square is the number of tokens averaged; at most the number of positions.
        head_dim: channels of a head; divides the width. 32 in the paper.

    Li et al., 2022, Next-ViT: Next Generation Vision Transformer for Efficient Deployment in Realistic Industrial
    Scenarios.
    """

    paper: ClassVar[Paper] = Paper(
        title="Next-ViT: Next Generation Vision Transformer for Efficient Deployment in Realistic Industrial Scenarios",
        authors="Jiashi Li, Xin Xia, Wei Li, Huixia Li, Xing Wang, Xuefeng Xiao, Rui Wang, Min Zheng, Xin Pan",
        year=2022,
        key="nextvit",
    )

    ratio: Positive = 2
    head_dim: Positive = 16

    def output(self, x: Feature) -> Feature:
        head_count(image(self, x).channels, None, self.head_dim)
        if self.ratio**2 > x.positions:
            raise ShapeError(
                f"ratio {self.ratio} averages {self.ratio**2} tokens, but the map has only {x.positions}; "
                f"use at most {int(x.positions**0.5)}"
            )
        return x

    def build(self, x: Feature) -> nn.Module:
        channels = self.output(x).channels
        return PooledTokenSelfAttention(channels, channels // self.head_dim, self.ratio**2)

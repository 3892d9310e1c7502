"""Self-attention whose queries, keys and values are projected by convolutions."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archfront.space.library.common import head_count, image
from archfront.space.library.downsample.grid_class_token import GridClassToken, TokenGrid
from archfront.space.spec import Mixer, Odd, Paper, Positive
from archfront.space.types import Feature


class EveryNth(nn.Module):
    """The positions of a map (N, C, H, W) in every row and column whose number `step` divides."""

    def __init__(self, step: int) -> None:
        super().__init__()
        self.step = step

    def forward(self, x: Tensor) -> Tensor:
        return x[:, :, :: self.step, :: self.step]


class ConvProjection(nn.Module):
    """A map (N, C, H, W) convolved or pooled with a stride, then a linear map of each position, as (N, C, L).

    A class token (N, C, 1) is put in front behind the convolution.
    """

    def __init__(
        self, channels: int, projection: str = "conv", kernel: int = 3, stride: int = 1, bias: bool = True
    ) -> None:
        super().__init__()
        self.norm: nn.Module = nn.Identity()
        if projection == "conv":
            self.spatial: nn.Module = nn.Conv2d(
                channels, channels, kernel, stride, padding=kernel // 2, groups=channels, bias=False
            )
            self.norm = nn.BatchNorm2d(channels)
        elif projection == "average":
            self.spatial = nn.AvgPool2d(kernel, stride, padding=kernel // 2)
        else:
            self.spatial = EveryNth(stride)
        self.linear = nn.Conv1d(channels, channels, 1, bias=bias)

    def forward(self, x: Tensor, token: Tensor | None = None) -> Tensor:
        tokens = self.norm(self.spatial(x)).flatten(2)
        if token is not None:
            tokens = torch.cat((token, tokens), 2)
        y: Tensor = self.linear(tokens)
        return y


class ConvProjectedSelfAttention(nn.Module):
    """Self-attention of a map, or with `grid` of a row of tokens whose first one is a class token (N, C, 1, 1 + h w)."""

    def __init__(
        self,
        channels: int,
        heads: int,
        projection: str = "conv",
        kernel: int = 3,
        kv_stride: int = 2,
        scale: float | None = None,
        qkv_bias: bool = True,
        grid: tuple[int, int] | None = None,
    ) -> None:
        super().__init__()
        self.heads = heads
        self.scale = scale
        self.grid = grid
        query_projection = "conv" if projection == "conv" else "linear"
        self.query = ConvProjection(channels, query_projection, kernel, 1, qkv_bias)
        self.key = ConvProjection(channels, projection, kernel, kv_stride, qkv_bias)
        self.value = ConvProjection(channels, projection, kernel, kv_stride, qkv_bias)
        self.project = nn.Conv1d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        token = None if self.grid is None else x[:, :, 0, :1]
        positions = x if self.grid is None else x[:, :, 0, 1:].reshape(*x.shape[:2], *self.grid)
        # head dim innermost: the CPU's fused attention takes no other layout, and falls back to L x L matrices
        query, key, value = (
            project(positions, token).unflatten(1, (self.heads, -1)).transpose(2, 3).contiguous()
            for project in (self.query, self.key, self.value)
        )
        mixed = F.scaled_dot_product_attention(query, key, value, scale=self.scale)
        y: Tensor = self.project(mixed.transpose(2, 3).flatten(1, 2))
        return y.reshape(x.shape)


class ConvProjectionAttention(Mixer):
    """W softmax(Q K^T s) V in each head with Q = W_q P_q x, K = W_k P_k x, V = W_v P_v x: P convolves, W is linear.

    P is a depthwise convolution without bias and batch norm, with stride 1 in P_q and `kv_stride` in P_k and P_v, so
    that there are fewer keys by its square; sizes become ceil(n / kv_stride). Behind GridClassToken the class token
    passes P by. No position embedding: the zeros around the map tell positions.

    Args:
        projection: P as above, "conv"; "average" takes means over `kernel` x `kernel` positions in P_k and P_v and x for
            P_q x; "linear" takes every `kv_stride`-th position, so that stride 1 is plain self-attention.
        kernel: extent of P.
        kv_stride: distance of the keys and values.
        head_dim: channels of a head; divides the width. 64 in CvT.
        heads: number of heads; None takes as many as `head_dim` says.
        scale: s is C^-0.5 ("width", as released) or (C / heads)^-0.5 ("head").
        qkv_bias: whether W_q, W_k and W_v have a bias.

    Wu et al., 2021, CvT: Introducing Convolutions to Vision Transformers.
    """

    paper: ClassVar[Paper] = GridClassToken.paper

    projection: Literal["conv", "average", "linear"] = "conv"
    kernel: Odd = 3
    kv_stride: Positive = 2
    head_dim: Positive = 16
    heads: Positive | None = None
    scale: Literal["width", "head"] = "width"
    qkv_bias: bool = True

    def output(self, x: Feature) -> Feature:
        head_count(image(self, x).channels, self.heads, self.head_dim)
        return x

    def build(self, x: Feature) -> nn.Module:
        channels = self.output(x).channels
        heads = head_count(channels, self.heads, self.head_dim)
        scale = (channels if self.scale == "width" else channels // heads) ** -0.5
        grid = x.grid if isinstance(x, TokenGrid) else None
        return ConvProjectedSelfAttention(
            channels, heads, self.projection, self.kernel, self.kv_stride, scale, self.qkv_bias, grid
        )

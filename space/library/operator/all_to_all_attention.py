"""Self-attention over all positions in place of a convolution."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archfront.space.library.common import head_count, image
from archfront.space.spec import Operator, Paper, Positive
from archfront.space.types import Feature


class RelativeLogits(nn.Module):
    """Scores of queries for the distance to every position: learnt vectors for rows and for columns.

    (N, heads, d, H, W) to (N, heads, H W, H W), entry (i, j) = q_i . (r_(y_j - y_i) + c_(x_j - x_i)).
    """

    down: Tensor
    right: Tensor

    def __init__(self, dim: int, size: tuple[int, int]) -> None:
        super().__init__()
        height, width = size
        self.rows = nn.Parameter(torch.randn(dim, 1, 2 * height - 1) * dim**-0.5)
        self.columns = nn.Parameter(torch.randn(dim, 1, 2 * width - 1) * dim**-0.5)
        self.register_buffer("down", distances(height), persistent=False)
        self.register_buffer("right", distances(width), persistent=False)

    def forward(self, query: Tensor) -> Tensor:
        rows = torch.einsum("nhdyx,dyj->nhyxj", query, self.rows[:, 0, self.down])
        columns = torch.einsum("nhdyx,dxj->nhyxj", query, self.columns[:, 0, self.right])
        return (rows[..., :, None] + columns[..., None, :]).flatten(4).flatten(2, 3)


class AbsoluteLogits(nn.Module):
    """Scores of queries for every position: learnt vectors for rows and for columns.

    (N, heads, d, H, W) to (N, heads, H W, H W), entry (i, j) = q_i . (r_(y_j) + c_(x_j)).
    """

    def __init__(self, dim: int, size: tuple[int, int]) -> None:
        super().__init__()
        height, width = size
        self.rows = nn.Parameter(torch.randn(dim, 1, height) * dim**-0.5)
        self.columns = nn.Parameter(torch.randn(dim, 1, width) * dim**-0.5)

    def forward(self, query: Tensor) -> Tensor:
        positions = (self.rows[:, 0, :, None] + self.columns[:, 0, None, :]).flatten(1)
        return query.flatten(3).transpose(2, 3) @ positions


def distances(extent: int) -> Tensor:
    """For every pair of positions on a line the index of their distance j - i among the 2 extent - 1 distances."""
    return torch.arange(extent)[None, :] - torch.arange(extent)[:, None] + extent - 1


class BottleneckAttention(nn.Module):
    """Every position attends to every position by content and place; average pooling over tiles where it strides."""

    fused_outputs: ClassVar[dict[str, int]] = {"qkv": 3}

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        heads: int,
        size: tuple[int, int],
        stride: int = 1,
        position: str = "relative",
    ) -> None:
        super().__init__()
        self.heads = heads
        self.scale = (out_channels // heads) ** -0.5
        self.qkv = nn.Conv2d(in_channels, 3 * out_channels, 1, bias=False)
        makers: dict[str, type[nn.Module]] = {"relative": RelativeLogits, "absolute": AbsoluteLogits}
        self.logits = makers[position](out_channels // heads, size) if position != "none" else None
        pooled = stride != 1
        self.pool = nn.AvgPool2d(stride, ceil_mode=True, count_include_pad=False) if pooled else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.qkv(x).unflatten(1, (3, self.heads, -1)).unbind(1)
        bias = None if self.logits is None else self.logits(query * self.scale)
        query, key, value = (part.flatten(3).transpose(2, 3) for part in (query, key, value))
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        y: Tensor = self.pool(mixed.transpose(2, 3).reshape(x.shape[0], -1, *x.shape[2:]))
        return y


class AllToAllAttention(Operator):
    """softmax_j((q_i . k_j + q_i . r_ij) / sqrt(d)) v_j in each head over all positions, in place of a 3x3 convolution.

    Queries, keys and values are linear maps without bias to the output width; d = width / heads; no projection
    follows, a bottleneck has one anyway. With `position="relative"` r_ij is the sum of a learnt vector for the distance
    in rows and one for that in columns: (2 H - 1) + (2 W - 1) vectors shared by the heads, drawn from N(0, 1/d). The
    stride is that of an average pooling over tiles behind the attention. `Bottleneck(operator=AllToAllAttention())` is
    the block of BoTNet.

    Cost grows with the square of the number of positions. With positions the module fits the one map size that it was
    built for.

    Args:
        heads: number of heads; must divide the width.
        position: r_ij: of the distance, of the position of j alone ("absolute"), or none.

    Srinivas et al., 2021, Bottleneck Transformers for Visual Recognition.
    """

    paper: ClassVar[Paper] = Paper(
        title="Bottleneck Transformers for Visual Recognition",
        authors="Aravind Srinivas, Tsung-Yi Lin, Niki Parmar, Jonathon Shlens, Pieter Abbeel, Ashish Vaswani",
        year=2021,
        key="botnet_mhsa_bottleneck",
    )

    heads: Positive = 4
    position: Literal["none", "absolute", "relative"] = "relative"

    def output(self, x: Feature) -> Feature:
        y = image(self, x).at(self.width, self.stride)
        head_count(y.channels, self.heads, 1)
        return y

    def build(self, x: Feature) -> nn.Module:
        width = self.output(x).channels
        height, length = x.size
        return BottleneckAttention(x.channels, width, self.heads, (height, length), self.stride, self.position)

"""Self-attention whose queries, keys and values are pooled."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archfront.space.library.common import head_count, image
from archfront.space.library.downsample.grid_class_token import TokenGrid, on_grid
from archfront.space.library.layers import LayerNorm2d
from archfront.space.spec import Mixer, Odd, Paper, Positive
from archfront.space.types import Feature


def ratio_offsets(queries: int, keys: int) -> Tensor:
    """For each pair of a query and a key on one line, the index of their offset: (queries, keys).

    Both are spread over the line evenly; the coarser of the two steps over several positions of the finer.
    """
    query_step, key_step = max(keys / queries, 1.0), max(queries / keys, 1.0)
    across = torch.arange(queries)[:, None] * query_step - torch.arange(keys)[None, :] * key_step
    return (across + (keys - 1) * key_step).long()


class PooledHeads(nn.Module):
    """The maps of all heads (N, heads, d, H, W) pooled; "conv" is a depthwise convolution that the heads share, and LN.

    With `grid` the maps are rows of a class token, which is not pooled, and h x w positions.
    """

    def __init__(
        self, head_dim: int, stride: int = 1, kernel: int = 3, pool: str = "conv", grid: tuple[int, int] | None = None
    ) -> None:
        super().__init__()
        self.grid = grid
        self.norm: nn.Module = nn.Identity()
        if pool == "conv":
            self.pool: nn.Module = nn.Conv2d(
                head_dim, head_dim, kernel, stride, padding=kernel // 2, groups=head_dim, bias=False
            )
            self.norm = LayerNorm2d(head_dim)
        elif pool == "max":
            self.pool = nn.MaxPool2d(kernel, stride, padding=kernel // 2)
        else:
            self.pool = nn.AvgPool2d(kernel, stride, padding=kernel // 2)

    def forward(self, x: Tensor) -> Tensor:
        pooled: Tensor = self.norm(on_grid(self.pool, x.flatten(0, 1), self.grid))
        return pooled.reshape(*x.shape[:2], *pooled.shape[1:])


class PooledSelfAttention(nn.Module):
    """Self-attention of a map (N, in_channels, *size) with pooled queries, keys and values.

    The result has as many positions as the pooled queries. `pool_query=False` leaves queries that have stride 1 alone.
    With `class_token` the map is a row of a token and `size` positions (N, in_channels, 1, 1 + h w), and so is the result.
    """

    fused_outputs: ClassVar[dict[str, int]] = {"qkv": 3}

    rows: Tensor
    columns: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        heads: int,
        size: tuple[int, int],
        query_stride: int = 1,
        key_stride: int = 1,
        kernel: int = 3,
        pool: str = "conv",
        pool_query: bool = True,
        residual: bool = True,
        positions: bool = True,
        class_token: bool = False,
    ) -> None:
        super().__init__()
        self.heads = heads
        self.residual = residual
        self.class_token = class_token
        grid = size if class_token else None
        head_dim = out_channels // heads
        self.qkv = nn.Conv2d(in_channels, 3 * out_channels, 1)
        pools_query = pool_query or query_stride > 1
        self.pool_query = PooledHeads(head_dim, query_stride, kernel, pool, grid) if pools_query else nn.Identity()
        self.pool_key = PooledHeads(head_dim, key_stride, kernel, pool, grid)
        self.pool_value = PooledHeads(head_dim, key_stride, kernel, pool, grid)
        self.project = nn.Conv2d(out_channels, out_channels, 1)
        self.row_bias: nn.Parameter | None = None
        self.column_bias: nn.Parameter | None = None
        if positions:
            rows, columns = (ratio_offsets(-(-n // query_stride), -(-n // key_stride)) for n in size)
            self.register_buffer("rows", rows, persistent=False)
            self.register_buffer("columns", columns, persistent=False)
            self.row_bias = offset_table(head_dim, max(rows.shape))
            self.column_bias = offset_table(head_dim, max(columns.shape))

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.qkv(x).unflatten(1, (3, self.heads, -1)).unbind(1)
        query, key, value = self.pool_query(query), self.pool_key(key), self.pool_value(value)
        bias = None if self.row_bias is None else self.bias(query)
        queries, keys, values = (t.flatten(3).transpose(2, 3) for t in (query, key, value))
        mixed = F.scaled_dot_product_attention(queries, keys, values, attn_mask=bias)
        y = mixed.transpose(2, 3).reshape(query.shape)
        if self.residual:
            y = y + query
        out: Tensor = self.project(y.flatten(1, 2))
        return out

    def bias(self, query: Tensor) -> Tensor:
        """q_i . r(i, j) for each pair, r the sum of a vector for the rows between i and j and one for the columns."""
        assert self.row_bias is not None and self.column_bias is not None
        if self.class_token:
            query = query[:, :, :, 0, 1:].reshape(*query.shape[:3], self.rows.shape[0], self.columns.shape[0])
        down = torch.einsum("nhdyx,dyk->nhyxk", query, self.row_bias[:, 0, self.rows])
        right = torch.einsum("nhdyx,dxk->nhyxk", query, self.column_bias[:, 0, self.columns])
        bias = (down[..., :, None] + right[..., None, :]).flatten(4).flatten(2, 3)
        return F.pad(bias, (1, 0, 1, 0)) if self.class_token else bias


def offset_table(head_dim: int, extent: int) -> nn.Parameter:
    """A learnt vector for each of the offsets between `extent` positions: (head_dim, 1, 2 extent - 1)."""
    return nn.Parameter(nn.init.trunc_normal_(torch.empty(head_dim, 1, 2 * extent - 1), std=0.02))


class PoolingAttention(Mixer):
    """W (softmax(P_q Q (P_k K)^T / sqrt(d) + B) P_v V [+ P_q Q]) in each head; P_k and P_v have stride `kv_stride`.

    Q, K and V are linear with bias. P is a depthwise convolution without bias that all heads share, followed by layer
    norm over the d channels of a head, or a plain pooling; P_q has stride 1 here. B_ij = q_i . (r_dy + r_dx) with a
    learnt vector for each offset between rows and between columns, r, so that with B the module fits one map size. The
    cost of the two products falls with the square of `kv_stride`. Behind GridClassToken the class token is not pooled and
    has no B.

    Args:
        kv_stride: distance of the pooled keys and values; halved from stage to stage it keeps their number.
        kernel: extent of P.
        pool: P, a convolution with norm, or the maximum or mean.
        pool_query: whether there is a P_q.
        residual_pooling: whether P_q Q is added to the result.
        relative_positions: whether there is a B.
        head_dim: channels of a head; divides the width.
        heads: number of heads; None takes as many as `head_dim` says.

    Fan et al., 2021, Multiscale Vision Transformers; P_q Q and B from Li et al., 2022, MViTv2: Improved Multiscale
    Vision Transformers for Classification and Detection.
    """

    paper: ClassVar[Paper] = Paper(
        title="Multiscale Vision Transformers",
        authors="Haoqi Fan, Bo Xiong, Karttikeya Mangalam, Yanghao Li, Zhicheng Yan, Jitendra Malik, "
        "Christoph Feichtenhofer",
        year=2021,
        key="mvit_pooling_attention",
    )

    kv_stride: Positive = 1
    kernel: Odd = 3
    pool: Literal["conv", "max", "avg"] = "conv"
    pool_query: bool = True
    residual_pooling: bool = True
    relative_positions: bool = True
    head_dim: Positive = 16
    heads: Positive | None = None

    def output(self, x: Feature) -> Feature:
        head_count(image(self, x).channels, self.heads, self.head_dim)
        return x

    def build(self, x: Feature) -> nn.Module:
        self.output(x)
        return self.strided(x, x.channels, 1)

    def strided(self, x: Feature, channels: int, stride: int) -> PooledSelfAttention:
        """The module for input type `x` with a result of `channels` and queries pooled with `stride`."""
        height, width = x.grid if isinstance(x, TokenGrid) else x.size
        return PooledSelfAttention(
            x.channels,
            channels,
            head_count(channels, self.heads, self.head_dim),
            (height, width),
            stride,
            self.kv_stride,
            self.kernel,
            self.pool,
            self.pool_query,
            self.residual_pooling,
            self.relative_positions,
            isinstance(x, TokenGrid),
        )

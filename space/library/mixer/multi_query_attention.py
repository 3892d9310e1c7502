"""Self-attention inside windows with one set of keys and values for all heads."""

from __future__ import annotations

from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from archfront.space.library.common import head_count, image
from archfront.space.library.layers_partition import Partition, in_heads, out_of_heads
from archfront.space.spec import Mixer, Paper, Positive
from archfront.space.types import Feature


class MultiQueryPartitionAttention(nn.Module):
    """Attention inside the groups of a partition of a map (N, C, H, W), its keys and values shared by all heads."""

    fused_outputs: ClassVar[dict[str, int]] = {"key_value": 2}

    def __init__(self, channels: int, heads: int, partition: Partition) -> None:
        super().__init__()
        self.heads = heads
        self.partition = partition
        self.query = nn.Conv2d(channels, channels, 1)
        self.key_value = nn.Conv2d(channels, 2 * channels // heads, 1)
        self.project = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        query = in_heads(self.partition.split(self.query(x)), self.heads).flatten(1, 2)
        key, value = self.partition.split(self.key_value(x)).chunk(2, 2)
        mask = self.partition.mask
        if mask is not None:
            mask = mask.repeat(x.shape[0], 1, self.heads, 1)
        # the heads are so many more queries to the same keys
        mixed = F.scaled_dot_product_attention(query[:, None], key[:, None], value[:, None], attn_mask=mask)[:, 0]
        y: Tensor = self.project(
            self.partition.merge(out_of_heads(mixed.reshape(mixed.shape[0], self.heads, -1, mixed.shape[2])))
        )
        return y


class MultiQueryAttention(Mixer):
    """softmax(Q_h K^T / sqrt(d)) V in each head h inside windows of `extent` x `extent` positions, then a projection.

    K and V are the same for all heads: linear maps to d = C / heads channels. Q and the projection are linear maps of
    the channels; all have a bias. Where the extent does not divide the map, the map is padded at the right and bottom,
    and padding is masked out; an extent larger than the map becomes the map's larger extent. The module fits the one map
    size that it was built for.

    Args:
        extent: of the windows.
        head_dim: channels of a head; divides the width.
        heads: number of heads; None takes as many as `head_dim` says.

    Shazeer, 2019, Fast Transformer Decoding: One Write-Head is All You Need; in windows as in Zhang et al., 2022, Nested
    Hierarchical Transformer: Towards Accurate, Data-Efficient and Interpretable Visual Understanding.
    """

    paper: ClassVar[Paper] = Paper(
        title="Fast Transformer Decoding: One Write-Head is All You Need", authors="Noam Shazeer", year=2019
    )

    extent: Positive = 7
    head_dim: Positive = 16
    heads: Positive | None = None

    def output(self, x: Feature) -> Feature:
        head_count(image(self, x).channels, self.heads, self.head_dim)
        return x

    def build(self, x: Feature) -> nn.Module:
        height, width = image(self, x).size
        heads = head_count(x.channels, self.heads, self.head_dim)
        partition = Partition((height, width), min(self.extent, max(height, width)))
        return MultiQueryPartitionAttention(x.channels, heads, partition)

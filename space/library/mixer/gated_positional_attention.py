"""Self-attention that can begin as a convolution."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor, nn

from archfront.space.library.common import head_count, image
from archfront.space.spec import Factor, Mixer, Paper, Positive
from archfront.space.types import Feature


def key_offsets(size: tuple[int, int]) -> Tensor:
    """(dx, dy, dx^2 + dy^2) from each query to each key of a map, dx along columns: (L, L, 3)."""
    rows, columns = torch.arange(size[0] * size[1]) // size[1], torch.arange(size[0] * size[1]) % size[1]
    down, right = rows[None, :] - rows[:, None], columns[None, :] - columns[:, None]
    return torch.stack((right, down, right**2 + down**2), -1).to(torch.get_default_dtype())


class GatedPositionalSelfAttention(nn.Module):
    """Weights by content and weights by offset, mixed by a gate a head, on maps (N, C, *size)."""

    fused_outputs: ClassVar[dict[str, int]] = {"query_key": 2}

    offsets: Tensor

    def __init__(
        self, channels: int, heads: int, size: tuple[int, int], locality: float = 1.0, gate: float = 1.0
    ) -> None:
        super().__init__()
        self.heads = heads
        self.query_key = nn.Conv2d(channels, 2 * channels, 1, bias=False)
        self.value = nn.Conv2d(channels, channels, 1, bias=False)
        self.position = nn.Linear(3, heads)
        self.gate = nn.Parameter(torch.full((heads,), gate))
        self.project = nn.Conv2d(channels, channels, 1)
        self.register_buffer("offsets", key_offsets(size), persistent=False)
        self.begin_as_convolution(locality)

    def begin_as_convolution(self, locality: float) -> None:
        """Centre head a + k b on the key b - c rows below and a - c columns right of its query, c = (k - 1) / 2.

        k is the root of the number of heads, rounded down; heads beyond k^2 keep their random values.
        """
        nn.init.dirac_(self.value.weight)
        nn.init.trunc_normal_(self.position.weight, std=0.02)
        nn.init.zeros_(self.position.bias)
        side = math.isqrt(self.heads)
        head = torch.arange(side**2)
        down, right = head % side - (side - 1) / 2, head // side - (side - 1) / 2
        centred = torch.stack((2 * right, 2 * down, -torch.ones(side**2)), 1)
        with torch.no_grad():
            self.position.weight[: side**2] = locality * centred

    def forward(self, x: Tensor) -> Tensor:
        value = self.value(x).flatten(2).unflatten(1, (self.heads, -1)).transpose(2, 3)
        mixed = (self.weights(x) @ value).transpose(2, 3).reshape(x.shape)
        y: Tensor = self.project(mixed)
        return y

    def weights(self, x: Tensor) -> Tensor:
        """What each query takes from each key, rows summing to one: (N, heads, L, L)."""
        query, key = self.query_key(x).flatten(2).unflatten(1, (2, self.heads, -1)).unbind(1)
        content = (query.transpose(2, 3) @ key * query.shape[2] ** -0.5).softmax(-1)
        place = self.position(self.offsets).permute(2, 0, 1).softmax(-1)
        gate = self.gate.sigmoid()[:, None, None]
        weights: Tensor = (1 - gate) * content + gate * place
        return weights


class GatedPositionalAttention(Mixer):
    """W A V in each head, A = (1 - g) softmax_j(q_i . k_j / sqrt(d)) + g softmax_j(v . r_ij + c), g = sigmoid(l).

    r_ij = (dx, dy, dx^2 + dy^2) is the offset of key j from query i on the map; v in R^3, c and l are learnt for each
    head. Q, K and V have no bias, W has one. The module fits the one map size that it was built for, and keeps L^2
    weights a head.

    It begins as a convolution: with v = `locality` (2 Dx, 2 Dy, -1) a head looks at the key at offset D with a width of
    1 / sqrt(locality), D running over a grid of k x k offsets for k^2 heads (nine heads stand for a 3x3 kernel), and the
    map that yields V is the identity.

    Args:
        heads: number of heads, best a square, beyond which they begin at random; divides the width.
        locality: how sharply a head looks at its offset at first.
        gate: l at first; the larger, the more the offset counts.

    d'Ascoli et al., 2021, ConViT: Improving Vision Transformers with Soft Convolutional Inductive Biases.
    """

    paper: ClassVar[Paper] = Paper(
        title="ConViT: Improving Vision Transformers with Soft Convolutional Inductive Biases",
        authors="Stéphane d'Ascoli, Hugo Touvron, Matthew L. Leavitt, Ari S. Morcos, Giulio Biroli, Levent Sagun",
        year=2021,
        key="gated_positional_self_attention",
    )

    heads: Positive = 4
    locality: Factor = 1.0
    gate: float = 1.0

    def output(self, x: Feature) -> Feature:
        head_count(image(self, x).channels, self.heads, 1)
        return x

    def build(self, x: Feature) -> nn.Module:
        height, width = self.output(x).size
        return GatedPositionalSelfAttention(x.channels, self.heads, (height, width), self.locality, self.gate)

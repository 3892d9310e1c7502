"""Convolution on the grid beside attention between a few slots."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archfront.space.errors import ShapeError
from archfront.space.library.common import head_count, image
from archfront.space.spec import Mixer, Odd, Paper, Positive
from archfront.space.types import Feature


class SlotSelfAttention(nn.Module):
    """Multi-head self-attention of vectors (N, slots, C)."""

    fused_outputs: ClassVar[dict[str, int]] = {"qkv": 3}

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(channels, 3 * channels)
        self.project = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        mixed = F.scaled_dot_product_attention(query, key, value)
        y: Tensor = self.project(mixed.transpose(1, 2).flatten(2))
        return y


class GlobalLocalMixer(nn.Module):
    """Positions grouped softly into slots, the slots mixed and handed back to their positions, plus a convolution.

    `pooled_slots`^2 slots start as the means of tiles of the map, or else `learnt_slots` as parameters.
    """

    def __init__(
        self,
        channels: int,
        heads: int | None,
        pooled_slots: int | None = 8,
        learnt_slots: int = 0,
        kernel: int | None = 5,
    ) -> None:
        super().__init__()
        self.pooled_slots = pooled_slots
        self.scale = nn.Parameter(torch.full((1,), channels**-0.5))
        self.slots = None if pooled_slots else nn.Parameter(0.02 * torch.randn(learnt_slots, channels))
        self.attention = SlotSelfAttention(channels, heads) if heads else nn.Identity()
        self.local = nn.Sequential() if kernel is None else LocalMixer(channels, kernel)

    def forward(self, x: Tensor, source: Tensor | None = None) -> Tensor:
        """The mixed map; `source` is the map that the slots are pooled from, x itself by default."""
        positions = x.flatten(2)
        closeness = self.closeness(positions, x if source is None else source)
        slots = self.attention(closeness.softmax(2) @ positions.transpose(1, 2))
        spread = slots.transpose(1, 2) @ closeness.softmax(1)
        y: Tensor = spread.reshape(x.shape) + self.local(x)
        return y

    def closeness(self, positions: Tensor, source: Tensor) -> Tensor:
        """The scaled cosine between each slot's first value and each position: (N, slots, L)."""
        if self.slots is None:
            first = F.adaptive_avg_pool2d(source, self.pooled_slots).flatten(2).transpose(1, 2)
        else:
            first = self.slots.expand(positions.shape[0], -1, -1)
        return F.normalize(first, dim=2) @ (self.scale * F.normalize(positions, dim=1))


class LocalMixer(nn.Sequential):
    """1x1 convolution, depthwise convolution, 1x1 convolution, nothing between them."""

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        self.before = nn.Conv2d(channels, channels, 1)
        self.depthwise = nn.Conv2d(channels, channels, kernel, padding=kernel // 2, groups=channels)
        self.after = nn.Conv2d(channels, channels, 1)


class GLMix(Mixer):
    """softmax_slots(A)^T attention(softmax_positions(A) x) + W2 D W1 x with A = a cos(s, x) on M slots s.

    The first softmax groups the L positions into slots, the second one hands every position a mean of the slots, which
    in between attend to each other (multi-head, with bias). a is learnt and starts at C^-0.5, so that all begin alike.
    D is a depthwise convolution, W1 and W2 are 1x1, all with bias. The cost, 3 M L C for the slots, is linear in L.

    Args:
        slots: M; a square number where they are pooled. More of them than positions only repeat each other.
        slot_init: s is the mean over each of sqrt(M) x sqrt(M) tiles of x ("pool"), or a parameter ("learnt").
        slot_attention: whether the slots attend to each other.
        kernel: extent of D; None adds x itself in its place, as the authors' code does.
        head_dim: channels of a head; divides the width.
        heads: number of heads; None takes as many as `head_dim` says.

    Zhu et al., 2024, Revisiting the Integration of Convolution and Attention for Vision Backbone.
    """

    paper: ClassVar[Paper] = Paper(
        title="Revisiting the Integration of Convolution and Attention for Vision Backbone",
        authors="Lei Zhu, Xinjiang Wang, Wayne Zhang, Rynson W. H. Lau",
        year=2024,
        key="glmix",
    )

    slots: Positive = 64
    slot_init: Literal["pool", "learnt"] = "pool"
    slot_attention: bool = True
    kernel: Odd | None = 5
    head_dim: Positive = 16
    heads: Positive | None = None

    def output(self, x: Feature) -> Feature:
        head_count(image(self, x).channels, self.heads, self.head_dim)
        side = math.isqrt(self.slots)
        if self.slot_init == "pool" and side**2 != self.slots:
            raise ShapeError(
                f'{self.slots} slots make no square of tiles; use {side**2} or {(side + 1) ** 2}, or slot_init="learnt"'
            )
        return x

    def build(self, x: Feature) -> GlobalLocalMixer:
        channels = self.output(x).channels
        heads = head_count(channels, self.heads, self.head_dim) if self.slot_attention else None
        pooled = math.isqrt(self.slots) if self.slot_init == "pool" else None
        return GlobalLocalMixer(channels, heads, pooled, 0 if pooled else self.slots, self.kernel)

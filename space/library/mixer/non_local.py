"""Weighted sums over all positions, with weights from pairs of positions."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import torch.nn.functional as F
from torch import Tensor, nn

from archfront.space.errors import ShapeError
from archfront.space.library.common import scaled
from archfront.space.spec import Factor, Mixer, Paper, Positive
from archfront.space.types import Feature


def tile_maximum(dimensions: int, extent: int) -> nn.Module:
    """The maximum over tiles of `extent` positions along each direction, of three directions along the last two."""
    if extent == 1:
        return nn.Identity()
    pools: dict[int, type[nn.Module]] = {1: nn.MaxPool1d, 2: nn.MaxPool2d, 3: nn.MaxPool3d}
    return pools[dimensions]((1, extent, extent) if dimensions == 3 else extent, ceil_mode=True)


class NonLocalSum(nn.Module):
    """For every position a weighted sum of values over all (or all pooled) positions of a map (N, C, *size)."""

    def __init__(
        self,
        channels: int,
        hidden: int,
        dimensions: int = 2,
        pairwise: str = "embedded_gaussian",
        subsample: int = 1,
        scale: float = 1.0,
        values_first: bool = False,
    ) -> None:
        super().__init__()
        self.pairwise = pairwise
        self.scale = scale
        self.values_first = values_first
        embeds, scores = pairwise != "gaussian", pairwise == "concatenation"
        self.pool = tile_maximum(dimensions, subsample)
        self.query = nn.Conv1d(channels, hidden, 1) if embeds else nn.Identity()
        self.key = nn.Conv1d(channels, hidden, 1) if embeds else nn.Identity()
        self.value = nn.Conv1d(channels, hidden, 1)
        self.query_score = nn.Conv1d(hidden, 1, 1, bias=False) if scores else nn.Identity()
        self.key_score = nn.Conv1d(hidden, 1, 1, bias=False) if scores else nn.Identity()
        self.project = nn.Conv1d(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        positions, others = x.flatten(2), self.pool(x).flatten(2)
        mixed = self.weighted(self.query(positions), self.key(others), self.value(others))
        y: Tensor = self.project(mixed)
        return y.reshape(x.shape)

    def weighted(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """The sum over j of f(query_i, key_j) value_j / norm: queries (N, D, L), keys and values (N, D, M)."""
        if self.pairwise in ("gaussian", "embedded_gaussian"):
            query, key, value = (t.transpose(1, 2)[:, None] for t in (query, key, value))
            return F.scaled_dot_product_attention(query, key, value, scale=self.scale)[:, 0].transpose(1, 2)
        share = self.scale / value.shape[2]
        if self.pairwise == "concatenation":
            pairs: Tensor = (self.query_score(query).transpose(1, 2) + self.key_score(key)).relu()
            return value @ (share * pairs).transpose(1, 2)
        if self.values_first:
            return (value @ key.transpose(1, 2)) @ (share * query)
        return value @ (key.transpose(1, 2) @ (share * query))


class NonLocal(Mixer):
    """y_i = W sum_j f(x_i, x_j) g(x_j) / norm, over all positions; q, k, g and W linear with bias, C' = `ratio` C inside.

    f and norm are, with s = 1 or, if `scale`, s = 1 / sqrt(width of the product):

    - "embedded_gaussian": exp(s q_i . k_j) and the sum over j: self-attention with one head;
    - "gaussian": exp(s x_i . x_j) and the sum over j;
    - "dot_product": s q_i . k_j and the number of j. (q k^T) g and q (k^T g) are the same; the cheaper one is built;
    - "concatenation": s relu(u . q_i + v . k_j), u and v learnt vectors, and the number of j.

    Takes any of one, two and three directions.

    Args:
        pairwise: f.
        ratio: C' over C, 1/2 in the paper; C' is rounded.
        subsample: x_j are maxima over tiles of this extent (of three directions the last two), so that there are fewer
            of them.
        scale: s; the paper has none.

    Wang et al., 2018, Non-local Neural Networks.
    """

    paper: ClassVar[Paper] = Paper(
        title="Non-local Neural Networks",
        authors="Xiaolong Wang, Ross Girshick, Abhinav Gupta, Kaiming He",
        year=2018,
        key="non_local_block",
    )

    pairwise: Literal["embedded_gaussian", "gaussian", "dot_product", "concatenation"] = "embedded_gaussian"
    ratio: Factor = 0.5
    subsample: Positive = 1
    scale: bool = False

    def output(self, x: Feature) -> Feature:
        if not isinstance(x, Feature) or not 1 <= len(x.size) <= 3:
            raise ShapeError(
                f"{type(self).__name__} takes channels x height x width, got {x}; sequences and volumes fit too"
            )
        pooled = x.size[-2:]
        if min(pooled) < self.subsample:
            raise ShapeError(f"subsample {self.subsample} exceeds {min(pooled)} positions; use at most {min(pooled)}")
        return x

    def build(self, x: Feature) -> nn.Module:
        self.output(x)
        hidden = scaled(x.channels, self.ratio)
        width = x.channels if self.pairwise == "gaussian" else hidden
        return NonLocalSum(
            x.channels,
            hidden,
            len(x.size),
            self.pairwise,
            self.subsample,
            width**-0.5 if self.scale else 1.0,
            self.pairwise == "dot_product" and self._values_first(x, hidden),
        )

    def _values_first(self, x: Feature, hidden: int) -> bool:
        """Whether the product of keys and values is cheaper than that of queries and keys."""
        others = math.prod(x.size[:-2]) * math.prod(-(-n // self.subsample) for n in x.size[-2:])
        return hidden * (x.positions + others) < 2 * x.positions * others

"""Levels merged step by step, from the coarsest to the finest, each several times."""

from __future__ import annotations

from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor, nn

from archfront.space.library.block.pooled_residual import PooledResidual
from archfront.space.library.common_pyramid import halving
from archfront.space.library.layers import ConvNormAct
from archfront.space.spec import Odd, Paper, Topology
from archfront.space.types import Pyramid


class BilinearUpsample(nn.ConvTranspose2d):
    """A transposed depthwise convolution that doubles a map, at first by bilinear interpolation."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels, 4, stride=2, padding=1, groups=channels, bias=False)
        taps = torch.tensor([0.25, 0.75, 0.75, 0.25])
        with torch.no_grad():
            self.weight.copy_((taps[:, None] * taps).expand_as(self.weight))


class AggregationStep(nn.Module):
    """Brings maps to the width and size of a finer one and merges them into it, one after the other."""

    fused_inputs: ClassVar[dict[str, int]] = {"nodes": 2}

    def __init__(self, fine: int, coarse: int, count: int, kernel: int = 3) -> None:
        super().__init__()
        same = fine == coarse
        self.project = nn.ModuleList(
            nn.Identity() if same else ConvNormAct(coarse, fine, activation="relu") for _ in range(count)
        )
        self.enlarge = nn.ModuleList(BilinearUpsample(fine) for _ in range(count))
        self.nodes = nn.ModuleList(ConvNormAct(2 * fine, fine, kernel, activation="relu") for _ in range(count))

    def forward(self, x: Tensor, coarse: list[Tensor]) -> list[Tensor]:
        merged = []
        for y, project, enlarge, node in zip(coarse, self.project, self.enlarge, self.nodes, strict=True):
            raised = enlarge(project(y))[:, :, : x.shape[2], : x.shape[3]]
            x = node(torch.cat((x, raised), 1))
            merged.append(x)
        return merged


class IterativeAggregator(nn.Module):
    """One step a level, from the last but one to the first, into which it merges the level behind and all results there."""

    def __init__(self, channels: tuple[int, ...], kernel: int = 3) -> None:
        super().__init__()
        pairs = list(pairwise(channels))[::-1]
        self.steps = nn.ModuleList(
            AggregationStep(fine, coarse, count, kernel) for count, (fine, coarse) in enumerate(pairs, start=1)
        )

    def forward(self, levels: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        *finer, coarse = levels
        merged: list[Tensor] = []
        for x, step in zip(reversed(finer), self.steps, strict=True):
            merged = step(x, [coarse, *merged])
            coarse = x
        return (merged[-1],)


class IterativeAggregation(Topology):
    """Pyramid to its finest level: from the coarsest level up, x <- relu(BN(W [x, U P y])) for all y of the level behind.

    A step starts from a level x and merges into it, one after the other, the level behind it and all results of the step
    before. P is a 1x1 convolution with BN and ReLU to the width of x (left out where it has it), U a transposed
    depthwise convolution that doubles the map and starts as bilinear interpolation, W a convolution. Every result goes on
    to the next step, so that the finest level passes through most convolutions: with n levels there are n (n - 1) / 2.
    The way from trees to dense outputs in deep layer aggregation, known as DLA-up.

    Args:
        kernel: extent of W.

    Yu et al., 2018, Deep Layer Aggregation.
    """

    paper: ClassVar[Paper] = PooledResidual.paper

    kernel: Odd = 3

    def output(self, x: Pyramid) -> Pyramid:
        return Pyramid(halving(self, x)[:1])

    def build(self, x: Pyramid) -> nn.Module:
        return IterativeAggregator(tuple(level.channels for level in halving(self, x)), self.kernel)

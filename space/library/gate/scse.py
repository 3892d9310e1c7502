"""Concurrent channel and spatial squeeze-and-excitation."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from archfront.space.errors import ShapeError
from archfront.space.library.common import scaled
from archfront.space.library.gate.squeeze_excite import SqueezeExcitation
from archfront.space.spec import Factor, Gate, Paper
from archfront.space.types import Feature


class SpatialExcitation(nn.Module):
    """Scales every position by a weight computed from its own channels: (N, C, ...) to the same."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.score = nn.Conv1d(channels, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        weights: Tensor = self.score(x.flatten(2)).sigmoid()
        return x * weights.reshape(x.shape[0], 1, *x.shape[2:])


class ProjectExcitation(nn.Module):
    """Scales every entry by a weight computed from the means of its row, its column, ... over all other dimensions."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.reduce = nn.Conv1d(channels, hidden, 1)
        self.act = nn.ReLU()
        self.expand = nn.Conv1d(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        axes = range(2, x.ndim)
        profiles = [x.mean([other for other in axes if other != axis], keepdim=True) for axis in axes]
        projected = torch.stack([profile.expand(x.shape) for profile in profiles]).sum(0)
        weights: Tensor = self.expand(self.act(self.reduce(projected.flatten(2)))).sigmoid()
        return x * weights.reshape(x.shape)


class ConcurrentExcitation(nn.Module):
    """Channel and spatial excitation of the same input, merged."""

    fused_inputs: ClassVar[dict[str, int]] = {"project": 2}

    def __init__(self, channels: int, hidden: int, merge: str = "max") -> None:
        super().__init__()
        self.merge = merge
        self.channel = SqueezeExcitation(channels, hidden)
        self.spatial = SpatialExcitation(channels)
        self.project = nn.Conv1d(2 * channels, channels, 1) if merge == "concat" else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        by_channel: Tensor = self.channel(x)
        by_position: Tensor = self.spatial(x)
        if self.merge == "max":
            return torch.maximum(by_channel, by_position)
        if self.merge == "sum":
            return by_channel + by_position
        if self.merge == "product":
            return by_channel * by_position
        both = torch.cat((by_channel, by_position), 1)
        y: Tensor = self.project(both.flatten(2))
        return y.reshape(x.shape)


class SCSE(Gate):
    """merge(x * sigmoid(W2 relu(W1 z + b1) + b2), x * sigmoid(q . x + b)), z the mean of every channel.

    The first operand weighs channels, W1: C -> R = `ratio * C` (rounded), W2 back; the second weighs positions by one
    inner product with the channels there. Takes any number of dimensions. At first the weights are about 1/2, so "max"
    halves x where it is positive, "sum" keeps it and "product" gives x^2 / 4.

    Args:
        weights: "channel" is cSE, "spatial" sSE, "channel+spatial" scSE; "project" computes one weight an entry from
            the means over all other dimensions (Rickmann et al., 2019, 'Project & Excite' Modules for Segmentation of
            Volumetric Medical Scans), for two dimensions and more.
        ratio: inner width over width.
        merge: of the two operands: "max", "sum", "product", or "concat" with a 1x1 convolution back to C.

    Roy et al., 2019, Recalibrating Fully Convolutional Networks with Spatial and Channel 'Squeeze & Excitation' Blocks;
    their conference paper of 2018 sums.
    """

    paper: ClassVar[Paper] = Paper(
        title="Recalibrating Fully Convolutional Networks with Spatial and Channel 'Squeeze & Excitation' Blocks",
        authors="Abhijit Guha Roy, Nassir Navab, Christian Wachinger",
        year=2019,
        key="scse",
    )

    weights: Literal["channel", "spatial", "channel+spatial", "project"] = "channel+spatial"
    ratio: Factor = 0.5
    merge: Literal["max", "sum", "product", "concat"] = "max"

    def output(self, x: Feature) -> Feature:
        if self.weights == "project" and len(x.size) < 2:
            raise ShapeError(f'weights "project" need two dimensions or more, got {x}; use "channel+spatial"')
        return x

    def build(self, x: Feature) -> nn.Module:
        channels = self.output(x).channels
        hidden = scaled(channels, self.ratio)
        if self.weights == "channel":
            return SqueezeExcitation(channels, hidden)
        if self.weights == "spatial":
            return SpatialExcitation(channels)
        if self.weights == "project":
            return ProjectExcitation(channels, hidden)
        return ConcurrentExcitation(channels, hidden, self.merge)

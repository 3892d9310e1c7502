"""Squeeze-and-excitation of normalised means."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from archfront.space.library.common import image
from archfront.space.library.layers import LayerNorm2d
from archfront.space.spec import Factor, Gate, Paper
from archfront.space.types import Feature


class NormedSqueezeExcitation(nn.Module):
    """Scales every channel by a weight computed from the means of the layer-normalised map (N, C, H, W)."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.norm = LayerNorm2d(channels, eps=1e-5)
        self.reduce = nn.Linear(channels, hidden)
        self.act = nn.GELU()
        self.expand = nn.Linear(hidden, channels)

    def forward(self, x: Tensor) -> Tensor:
        weights = self.expand(self.act(self.reduce(self.norm(x).mean((2, 3))))).sigmoid()
        y: Tensor = x * weights[:, :, None, None]
        return y


class NormedSqueezeExcite(Gate):
    """x * sigmoid(W2 gelu(W1 mean(LN(x)) + b1) + b2), W1: C -> R, W2: R -> C; R is `ratio` C rounded down, at least 1.

    LN is over the channels of each position, so that strong positions weigh no more than others; it acts on the means
    only.

    Pei, Huang and Xu, 2025, EfficientVMamba: Atrous Selective Scan for Light Weight Visual Mamba.
    """

    paper: ClassVar[Paper] = Paper(
        title="EfficientVMamba: Atrous Selective Scan for Light Weight Visual Mamba",
        authors="Xiaohuan Pei, Tao Huang, Chang Xu",
        year=2025,
        key="efficient_vmamba",
    )

    ratio: Factor = 0.125

    def output(self, x: Feature) -> Feature:
        return image(self, x)

    def build(self, x: Feature) -> nn.Module:
        return NormedSqueezeExcitation(image(self, x).channels, max(1, int(self.ratio * x.channels)))

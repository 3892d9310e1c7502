"""Normalisation of centred vectors to unit length."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from archfront.space.library.layers import make_norm


class CentredUnitNorm2d(nn.Module):
    """w_c (x_c - mean(x)) / max(|x - mean(x)|, eps) over the channels of each position of a map (N, C, H, W).

    Layer norm without bias divided by sqrt(C): the length of the centred vector takes the place of its deviation.
    """

    def __init__(self, channels: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        centred = x - x.mean(1, keepdim=True)
        # clamped inside the root, whose slope at 0 is infinite
        length = centred.square().sum(1, keepdim=True).clamp_min(self.eps**2).sqrt()
        return centred / length * self.weight[:, None, None]


def make_unit_norm(name: str, channels: int) -> nn.Module:
    """The normalisation called `name` for feature maps (N, channels, H, W): "unit", or one that `make_norm` knows."""
    return CentredUnitNorm2d(channels) if name == "unit" else make_norm(name, channels)

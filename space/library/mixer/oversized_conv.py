"""Depthwise convolution with kernels longer than the map."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch.nn.functional as F
from archfront.space.library.common import image, scaled
from archfront.space.spec import Factor, Mixer, Odd, Paper
from archfront.space.types import Feature
from torch import Tensor, nn


def kernel_length(extent: str, size: int) -> int:
    """The odd length of the kernel along a direction of `size` positions that `extent` asks for."""
    lengths = {"2map-1": 2 * size - 1, "map": size | 1, "map-1": max(1, size - 2 + size % 2 * -1 + 1)}
    return lengths[extent]

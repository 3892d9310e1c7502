"""DropBlock: dropout of contiguous regions."""

from __future__ import annotations

import math
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from archfront.space.errors import ShapeError
from archfront.space.spec import Gate, NonNegative, Paper, Positive, Probability
from archfront.space.types import Feature


class BlockDropout(nn.Module):
    """In training, zeroes blocks of a map (N, C, ...) and rescales the rest; otherwise the identity.

    `rate`, the expected share of zeros, may be set at any time. Where `ramp` is not 0, it comes into force linearly over
    the first `ramp` passes in training, which `passes` counts; set that too where training resumes.
    """

    def __init__(self, rate: float, block: int = 7, coupled: bool = False, ramp: int = 0) -> None:
        super().__init__()
        self.rate = rate
        self.block = block
        self.coupled = coupled
        self.ramp = ramp
        self.passes = 0

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.rate == 0.0:
            return x
        self.passes += 1
        rate = self.rate * min(1.0, self.passes / self.ramp) if self.ramp else self.rate
        kept = self.mask(x, rate)
        return x * kept * (kept.numel() / kept.sum().clamp(min=1.0))

    def mask(self, x: Tensor, rate: float) -> Tensor:
        """0 in the blocks around random seeds and 1 elsewhere, for each channel on its own or, coupled, for all."""
        size = x.shape[2:]
        block = [min(self.block, n) for n in size]
        inner = [n - b + 1 for n, b in zip(size, block, strict=True)]  # seeds stand where a whole block fits
        density = rate * math.prod(size) / math.prod(block) / math.prod(inner)
        channels = 1 if self.coupled else x.shape[1]
        seeds = x.new_empty(x.shape[0], channels, *inner).bernoulli_(min(1.0, density))
        around = [n for b in reversed(block) for n in (b - 1, b - 1)]
        pool = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[len(size) - 1]
        return 1.0 - pool(F.pad(seeds, around), block, stride=1)


class DropBlock(Gate):
    """In training x * m * (size of m / sum of m), m 0 in random blocks and 1 elsewhere; otherwise x itself.

    Stands wherever a gate does; `RegularisedBottleneck` has it behind every convolution. The blocks, `block` positions
    along every dimension or as many as the map has, lie wholly inside the map; their number is such that the zeros would
    make up `rate` of the map if blocks never overlapped. Blocks of 1 are dropout; blocks as large as the map drop whole
    channels. Takes one to three dimensions, has no parameters and costs nothing in evaluation.

    Args:
        rate: expected share of zeros, 1 - keep probability.
        block: extent of the blocks; 7 in the paper, 5 for detection.
        coupled: the same blocks in all channels.
        ramp: number of training passes over which the rate grows from 0; 0 applies it at once.

    Ghiasi, Lin and Le, 2018, DropBlock: A regularization method for convolutional networks.
    """

    paper: ClassVar[Paper] = Paper(
        title="DropBlock: A regularization method for convolutional networks",
        authors="Golnaz Ghiasi, Tsung-Yi Lin, Quoc V. Le",
        year=2018,
        key="dropblock",
    )

    rate: Probability = 0.1
    block: Positive = 7
    coupled: bool = False
    ramp: NonNegative = 0

    def output(self, x: Feature) -> Feature:
        if not 1 <= len(x.size) <= 3:
            raise ShapeError(f"DropBlock takes one to three dimensions, got {x}")
        return x

    def build(self, x: Feature) -> nn.Module:
        self.output(x)
        return BlockDropout(self.rate, self.block, self.coupled, self.ramp)

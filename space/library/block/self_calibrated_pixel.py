"""Residual block of two branches, one of which weighs every entry of its map."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from archfront.space.library.common import image, kept
from archfront.space.library.gate.pixel_attention import PixelAttention
from archfront.space.library.layers import DropPath
from archfront.space.spec import Block, Gate, Odd, Paper, Positive, Probability
from archfront.space.types import Feature


class PixelAttentionConv(nn.Module):
    """A convolution, weights in (0, 1) for every entry of its result, a gate, and a second convolution.

    The weights come from the input through a 1x1 convolution; `pixel=False` leaves them out.
    """

    def __init__(self, channels: int, kernel: int = 3, pixel: bool = True, gate: nn.Module | None = None) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, kernel, padding=kernel // 2, bias=False)
        self.weigh = nn.Conv2d(channels, channels, 1) if pixel else None
        self.gate = nn.Identity() if gate is None else gate
        self.conv2 = nn.Conv2d(channels, channels, kernel, padding=kernel // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        values = self.conv1(x)
        if self.weigh is not None:
            values = values * self.weigh(x).sigmoid()
        y: Tensor = self.conv2(self.gate(values))
        return y


class SelfCalibratedPixelBlock(nn.Module):
    """Two 1x1 reductions, a convolution on one, a weighed pair of convolutions on the other, joined and projected."""

    fused_inputs: ClassVar[dict[str, int]] = {"project": 2}

    def __init__(
        self, channels: int, hidden: int, calibrated: nn.Module, kernel: int = 3, drop_path: float = 0.0
    ) -> None:
        super().__init__()
        self.reduce1 = nn.Conv2d(channels, hidden, 1, bias=False)
        self.reduce2 = nn.Conv2d(channels, hidden, 1, bias=False)
        self.conv = nn.Conv2d(hidden, hidden, kernel, padding=kernel // 2, bias=False)
        self.calibrated = calibrated
        self.act = nn.LeakyReLU(0.2)
        self.project = nn.Conv2d(2 * hidden, channels, 1, bias=False)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        plain = self.act(self.conv(self.act(self.reduce1(x))))
        calibrated = self.act(self.calibrated(self.act(self.reduce2(x))))
        y: Tensor = x + self.drop_path(self.project(torch.cat((plain, calibrated), 1)))
        return y


class SCPA(Block):
    """x + P [a(K a(R1 x)), a(K2 gate(K1 u * sigmoid(V u + b)))] with u = a(R2 x): self-calibration by pixel attention.

    R1, R2: C -> C / `reduction` (rounded down) and P are 1x1 convolutions, K, K1, K2 of extent `kernel`, V 1x1; only V
    has a bias. a is a leaky ReLU of slope 0.2. There is no normalisation.

    Args:
        reduction: width over the width of each branch.
        kernel: extent of K, K1 and K2.
        pixel: whether the weights sigmoid(V u + b) are there.
        gate: a gate on K1 u, besides or in place of them.
        drop_path: probability of leaving out the residual branch of a sample in training.

    Zhao et al., 2020, Efficient Image Super-Resolution Using Pixel Attention.
    """

    paper: ClassVar[Paper] = PixelAttention.paper

    reduction: Positive = 2
    kernel: Odd = 3
    pixel: bool = True
    gate: Gate | None = None
    drop_path: Probability = 0.0

    def _hidden(self, x: Feature) -> Feature:
        return x.at(max(1, x.channels // self.reduction))

    def output(self, x: Feature) -> Feature:
        if self.gate is not None:
            kept("gate", self.gate, self._hidden(image(self, x)))
        return image(self, x)

    def build(self, x: Feature) -> nn.Module:
        hidden = self._hidden(self.output(x))
        gate = None if self.gate is None else self.gate.build(hidden)
        calibrated = PixelAttentionConv(hidden.channels, self.kernel, self.pixel, gate)
        return SelfCalibratedPixelBlock(x.channels, hidden.channels, calibrated, self.kernel, self.drop_path)

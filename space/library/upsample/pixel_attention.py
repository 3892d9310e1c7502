"""Nearest-neighbour upsampling with convolutions and pixel attention."""

from __future__ import annotations

from typing import ClassVar

from torch import nn

from archfront.space.library.common import image, kept
from archfront.space.library.gate.pixel_attention import PixelAttention
from archfront.space.spec import Gate, Paper, Upsample
from archfront.space.types import Feature


class GatedUpsampling(nn.Sequential):
    """Repeats every position, 3x3 convolution, gate, leaky ReLU, 3x3 convolution, leaky ReLU."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, gate: nn.Module | None = None) -> None:
        super().__init__()
        self.resize = nn.Upsample(scale_factor=stride, mode="nearest")
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.gate = nn.Identity() if gate is None else gate
        self.act1 = nn.LeakyReLU(0.2)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.act2 = nn.LeakyReLU(0.2)


class PixelAttentionUpsample(Upsample):
    """a(K2 a(gate(K1 up(x)))): up repeats every position `stride` times each way, K1 and K2 are 3x3 with bias.

    a is a leaky ReLU of slope 0.2.

    Args:
        gate: acts on K1's result; pixel attention in the paper.

    Zhao et al., 2020, Efficient Image Super-Resolution Using Pixel Attention.
    """

    paper: ClassVar[Paper] = PixelAttention.paper

    gate: Gate | None = PixelAttention()

    def output(self, x: Feature) -> Feature:
        y = super().output(image(self, x))
        return y if self.gate is None else kept("gate", self.gate, y)

    def build(self, x: Feature) -> nn.Module:
        y = self.output(x)
        gate = None if self.gate is None else self.gate.build(y)
        return GatedUpsampling(x.channels, y.channels, self.stride, gate)

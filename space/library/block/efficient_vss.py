"""The block of EfficientVMamba: a selective scan and a convolution side by side behind one gate."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from archfront.space.library.common import Norm, image, kept
from archfront.space.library.gate.normed_squeeze import NormedSqueezeExcite
from archfront.space.library.layers import DropPath, make_norm
from archfront.space.library.mixer.atrous_scan import AtrousScan
from archfront.space.spec import Block, ChannelMixer, Gate, Mixer, Paper, Probability
from archfront.space.types import Feature


class LocalConv(nn.Sequential):
    """Depthwise 3x3 convolution, batch norm, GELU, 1x1 convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.norm = nn.BatchNorm2d(channels)
        self.act = nn.GELU()
        self.project = nn.Conv2d(channels, channels, 1)


class EfficientVSSBlock(nn.Module):
    """Normalisation, a mixer and a convolution side by side through one gate, added up; then a mixer of channels."""

    def __init__(
        self,
        channels: int,
        mixer: nn.Module,
        gate: nn.Module | None = None,
        local: bool = True,
        channel_mixer: nn.Module | None = None,
        norm: str = "layer",
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.norm1 = make_norm(norm, channels)
        self.mixer = mixer
        self.local = LocalConv(channels) if local else None
        self.gate = nn.Identity() if gate is None else gate
        self.drop_path = DropPath(drop_path)
        self.norm2 = None if channel_mixer is None else make_norm(norm, channels)
        self.channel_mixer = channel_mixer

    def forward(self, x: Tensor) -> Tensor:
        normed = self.norm1(x)
        branch = self.gate(self.mixer(normed))
        if self.local is not None:
            branch = branch + self.gate(self.local(normed))
        x = x + self.drop_path(branch)
        if self.norm2 is None or self.channel_mixer is None:
            return x
        y: Tensor = x + self.drop_path(self.channel_mixer(self.norm2(x)))
        return y


class EfficientVSS(Block):
    """x <- x + gate(mixer(n)) + gate(conv(n)) with n = norm(x); conv is DW3x3, BN, GELU, 1x1. One gate serves both.

    The mixer reaches far, the convolution near; the gate weighs the channels of each by its content.

    Args:
        mixer: mixes positions: the atrous selective scan in the paper.
        gate: acts on each of the two.
        local: whether the convolution stands beside the mixer.
        channel_mixer: a second residual branch x <- x + channel_mixer(norm(x)); None, as in the paper, leaves it out.
        norm: in front of the branches.
        drop_path: probability of leaving out each residual branch of a sample in training.

    Pei, Huang and Xu, 2025, EfficientVMamba: Atrous Selective Scan for Light Weight Visual Mamba.
    """

    paper: ClassVar[Paper] = AtrousScan.paper

    mixer: Mixer = AtrousScan()
    gate: Gate | None = NormedSqueezeExcite()
    local: bool = True
    channel_mixer: ChannelMixer | None = None
    norm: Norm = "layer"
    drop_path: Probability = 0.0

    def output(self, x: Feature) -> Feature:
        kept("mixer", self.mixer, image(self, x))
        if self.gate is not None:
            kept("gate", self.gate, x)
        return x if self.channel_mixer is None else kept("channel_mixer", self.channel_mixer, x)

    def build(self, x: Feature) -> nn.Module:
        self.output(x)
        return EfficientVSSBlock(
            x.channels,
            self.mixer.build(x),
            None if self.gate is None else self.gate.build(x),
            self.local,
            None if self.channel_mixer is None else self.channel_mixer.build(x),
            self.norm,
            self.drop_path,
        )

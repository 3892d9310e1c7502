"""The general transformer-like block with factors on its shortcuts."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor, nn

from archfront.space.library.channel_mixer.bifurcate_gate import BifurcateGate
from archfront.space.library.common import image, kept
from archfront.space.library.layers import DropPath, LayerScale
from archfront.space.library.layers_centred_norm import make_unit_norm
from archfront.space.library.mixer.oversized_conv import OversizedConv
from archfront.space.spec import Block, ChannelMixer, Factor, Mixer, Paper, Probability
from archfront.space.types import Feature


class ResidualScaleMetaFormerBlock(nn.Module):
    """A mixer of positions, then a mixer of channels, each behind a normalisation and beside a scaled shortcut."""

    def __init__(
        self,
        channels: int,
        mixer: nn.Module,
        channel_mixer: nn.Module,
        norm: str = "unit",
        residual_scale: float | None = None,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.norm1 = make_unit_norm(norm, channels)
        self.mixer = mixer
        self.shortcut1 = LayerScale(channels, residual_scale) if residual_scale else nn.Identity()
        self.norm2 = make_unit_norm(norm, channels)
        self.channel_mixer = channel_mixer
        self.shortcut2 = LayerScale(channels, residual_scale) if residual_scale else nn.Identity()
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        x = self.shortcut1(x) + self.drop_path(self.mixer(self.norm1(x)))
        y: Tensor = self.shortcut2(x) + self.drop_path(self.channel_mixer(self.norm2(x)))
        return y


class ResidualScaleMetaFormer(Block):
    """x <- r1 x + mixer(norm1(x)); x <- r2 x + channel_mixer(norm2(x)), the unit of ParCNetV2.

    Args:
        mixer: mixes positions.
        channel_mixer: mixes channels.
        norm: "unit" divides the centred vector of a position by its length and scales each channel, without bias.
        residual_scale: r1 and r2 are learnt factors a channel that start at this value (1 in the last two stages of
            ParCNetV2); None leaves them out.
        drop_path: probability of leaving out each of the two branches of a sample in training.

    Xu et al., 2023, ParCNetV2: Oversized Kernel with Enhanced Attention.
    """

    paper: ClassVar[Paper] = OversizedConv.paper

    mixer: Mixer = OversizedConv()
    channel_mixer: ChannelMixer = BifurcateGate()
    norm: Literal["unit", "batch", "layer", "group1"] = "unit"
    residual_scale: Factor | None = None
    drop_path: Probability = 0.0

    def output(self, x: Feature) -> Feature:
        kept("mixer", self.mixer, image(self, x))
        return kept("channel_mixer", self.channel_mixer, x)

    def build(self, x: Feature) -> nn.Module:
        self.output(x)
        return ResidualScaleMetaFormerBlock(
            x.channels,
            self.mixer.build(x),
            self.channel_mixer.build(x),
            self.norm,
            self.residual_scale,
            self.drop_path,
        )

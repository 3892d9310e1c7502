"""The general architecture of transformer-like blocks."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from archfront.space.library.channel_mixer.feed_forward import FeedForward
from archfront.space.library.common import Norm, image, kept
from archfront.space.library.layers import DropPath, LayerScale, make_norm
from archfront.space.spec import Block, ChannelMixer, Factor, Mixer, Paper, Probability
from archfront.space.types import Feature


class MetaFormerBlock(nn.Module):
    """A residual mixer of positions, then a residual mixer of channels, each behind a normalisation."""

    def __init__(
        self,
        channels: int,
        mixer: nn.Module,
        channel_mixer: nn.Module,
        norm: str = "layer",
        layer_scale: float | None = None,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.norm1 = make_norm(norm, channels)
        self.mixer = mixer
        self.scale1 = LayerScale(channels, layer_scale) if layer_scale else nn.Identity()
        self.norm2 = make_norm(norm, channels)
        self.channel_mixer = channel_mixer
        self.scale2 = LayerScale(channels, layer_scale) if layer_scale else nn.Identity()
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.drop_path(self.scale1(self.mixer(self.norm1(x))))
        y: Tensor = x + self.drop_path(self.scale2(self.channel_mixer(self.norm2(x))))
        return y


class MetaFormer(Block):
    """x <- x + s1 mixer(norm1(x)); x <- x + s2 channel_mixer(norm2(x)).

    Args:
        mixer: mixes positions: attention, pooling, a convolution.
        channel_mixer: mixes channels.
        norm: "group1" in PoolFormer, "layer" in most others.
        layer_scale: s1 and s2 are learnt factors a channel that start at this value; None leaves them out.
        drop_path: probability of leaving out each of the two branches of a sample in training.

    Yu et al., 2022, MetaFormer Is Actually What You Need for Vision.
    """

    paper: ClassVar[Paper] = Paper(
        title="MetaFormer Is Actually What You Need for Vision",
        authors="Weihao Yu, Mi Luo, Pan Zhou, Chenyang Si, Yichen Zhou, Xinchao Wang, Jiashi Feng, Shuicheng Yan",
        year=2022,
    )

    mixer: Mixer
    channel_mixer: ChannelMixer = FeedForward()
    norm: Norm = "layer"
    layer_scale: Factor | None = None
    drop_path: Probability = 0.0

    def output(self, x: Feature) -> Feature:
        kept("mixer", self.mixer, image(self, x))
        return kept("channel_mixer", self.channel_mixer, x)

    def build(self, x: Feature) -> nn.Module:
        self.output(x)
        mixer, channel_mixer = self.mixer.build(x), self.channel_mixer.build(x)
        return MetaFormerBlock(x.channels, mixer, channel_mixer, self.norm, self.layer_scale, self.drop_path)

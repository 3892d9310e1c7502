"""The general transformer-like block behind a position encoding by convolution."""

from __future__ import annotations

from typing import ClassVar

from archfront.space.library.block.metaformer import MetaFormerBlock
from archfront.space.library.channel_mixer.feed_forward import FeedForward
from archfront.space.library.common import Norm, image, kept
from archfront.space.spec import Block, ChannelMixer, Factor, Mixer, Odd, Paper, Probability
from archfront.space.types import Feature
from torch import Tensor, nn


class PositionedMetaFormerBlock(MetaFormerBlock):
    """A residual depthwise convolution, a residual mixer of positions, a residual mixer of channels."""

    def __init__(
        self,
        channels: int,
        position_kernel: int,
        mixer: nn.Module,
        channel_mixer: nn.Module,
        norm: str = "layer",
        layer_scale: float | None = None,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__(channels, mixer, channel_mixer, norm, layer_scale, drop_path)
        self.position = nn.Conv2d(
            channels, channels, position_kernel, padding=position_kernel // 2, groups=channels
        )

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x + self.position(x))


class PositionedMetaFormer(Block):
    """x <- x + D x; x <- x + s1 mixer(norm1(x)); x <- x + s2 channel_mixer(norm2(x)), D a depthwise convolution with bias.

    D reads its zero padding, and so tells mixers that know no positions where they are. The unit of BiFormer and of
    the larger GLNets.

    Args:
        mixer: mixes positions.
        channel_mixer: mixes channels.
        position_kernel: extent of D.
        norm: norm1 and norm2.
        layer_scale: s1 and s2 are learnt factors a channel that start at this value; None leaves them out.
        drop_path: probability of leaving out each of the last two branches of a sample in training.

    Chu et al., 2023, Conditional Positional Encodings for Vision Transformers.
    """

    paper: ClassVar[Paper] = Paper(
        title="Conditional Positional Encodings for Vision Transformers",
        authors="Xiangxiang Chu, Zhi Tian, Bo Zhang, Xinlong Wang, Chunhua Shen",
        year=2023,
    )

    mixer: Mixer
    channel_mixer: ChannelMixer = FeedForward()
    position_kernel: Odd = 3
    norm: Norm = "layer"
    layer_scale: Factor | None = None
    drop_path: Probability = 0.0

    def output(self, x: Feature) -> Feature:
        kept("mixer", self.mixer, image(self, x))
        return kept("channel_mixer", self.channel_mixer, x)

    def build(self, x: Feature) -> nn.Module:
        self.output(x)
        return PositionedMetaFormerBlock(
            x.channels,
            self.position_kernel,
            self.mixer.build(x),
            self.channel_mixer.build(x),
            self.norm,
            self.layer_scale,
            self.drop_path,
        )

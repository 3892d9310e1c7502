"""The UniFormer block: positions by a convolution, then a mixer of positions and one of channels."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from archfront.space.library.block.metaformer import MetaFormerBlock
from archfront.space.library.channel_mixer.feed_forward import FeedForward
from archfront.space.library.common import Norm, image, kept
from archfront.space.library.mixer.local_affinity import LocalAffinity
from archfront.space.spec import Block, ChannelMixer, Factor, Mixer, Odd, Paper, Probability
from archfront.space.types import Feature


class UniFormerBlock(MetaFormerBlock):
    """A depthwise convolution added to the input in front of the two residual branches tells positions apart."""

    def __init__(
        self,
        channels: int,
        mixer: nn.Module,
        channel_mixer: nn.Module,
        position_kernel: int | None = 3,
        norm: str = "batch",
        layer_scale: float | None = None,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__(channels, mixer, channel_mixer, norm, layer_scale, drop_path)
        kernel = position_kernel or 1
        self.position = (
            nn.Conv2d(channels, channels, kernel, padding=kernel // 2, groups=channels) if position_kernel else None
        )

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x if self.position is None else x + self.position(x))


class UniFormer(Block):
    """x <- x + P * x; x <- x + s1 mixer(norm1(x)); x <- x + s2 channel_mixer(norm2(x)); P a depthwise convolution.

    P reads its zero padding, and so tells mixers that know no positions where they are. With its defaults it is the
    local block of UniFormer; `mixer=SelfAttention(head_dim=64), norm="layer"` is the global one,
    `mixer=WindowAttention(window=14), norm="layer"` the one for large images.

    Args:
        mixer: mixes positions.
        channel_mixer: mixes channels.
        position_kernel: extent of P, which has a bias and no norm; None leaves P out.
        norm: "batch" in local blocks, "layer" in global ones.
        layer_scale: s1 and s2 are learnt factors a channel that start at this value; None leaves them out.
        drop_path: probability of leaving out each of the two branches of a sample in training.

    Li et al., 2023, UniFormer: Unifying Convolution and Self-attention for Visual Recognition; P from Chu et al., 2023,
    Conditional Positional Encodings for Vision Transformers.
    """

    paper: ClassVar[Paper] = LocalAffinity.paper

    mixer: Mixer = LocalAffinity()
    channel_mixer: ChannelMixer = FeedForward()
    position_kernel: Odd | None = 3
    norm: Norm = "batch"
    layer_scale: Factor | None = None
    drop_path: Probability = 0.0

    def output(self, x: Feature) -> Feature:
        kept("mixer", self.mixer, image(self, x))
        return kept("channel_mixer", self.channel_mixer, x)

    def build(self, x: Feature) -> nn.Module:
        self.output(x)
        return UniFormerBlock(
            x.channels,
            self.mixer.build(x),
            self.channel_mixer.build(x),
            self.position_kernel,
            self.norm,
            self.layer_scale,
            self.drop_path,
        )

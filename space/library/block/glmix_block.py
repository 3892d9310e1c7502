"""The block of GLNet: slots pooled from its input, a mixer of slots and grid, a mixer of channels."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from archfront.space.library.block.uniformer import UniFormerBlock
from archfront.space.library.channel_mixer.feed_forward import FeedForward
from archfront.space.library.common import Norm, image, kept
from archfront.space.library.mixer.glmix import GLMix
from archfront.space.spec import Block, ChannelMixer, Factor, Odd, Paper, Probability
from archfront.space.types import Feature


class GlobalLocalBlock(UniFormerBlock):
    """A block whose mixer of positions also sees the input as it comes in, to pool slots from."""

    def forward(self, x: Tensor) -> Tensor:
        source = x
        if self.position is not None:
            x = x + self.position(x)
        x = x + self.drop_path(self.scale1(self.mixer(self.norm1(x), source)))
        y: Tensor = x + self.drop_path(self.scale2(self.channel_mixer(self.norm2(x))))
        return y


class GLMixBlock(Block):
    """x' = x + P x; x' <- x' + s1 GLMix(norm1(x'), slots from x); x' <- x' + s2 channel_mixer(norm2(x')).

    The slots are pooled from the input before P and the normalisation. P is a depthwise convolution with bias.

    Args:
        mixer: mixes positions.
        channel_mixer: mixes channels; `EnhancedFeedForward(expand=3)` in GLNet-4G.
        position_kernel: extent of P, 3 in GLNet-4G; None leaves P out.
        norm: norm1 and norm2.
        layer_scale: s1 and s2 are learnt factors a channel that start at this value; None leaves them out.
        drop_path: probability of leaving out each of the two branches of a sample in training.

    Zhu et al., 2024, Revisiting the Integration of Convolution and Attention for Vision Backbone.
    """

    paper: ClassVar[Paper] = GLMix.paper

    mixer: GLMix = GLMix()
    channel_mixer: ChannelMixer = FeedForward()
    position_kernel: Odd | None = None
    norm: Norm = "layer"
    layer_scale: Factor | None = None
    drop_path: Probability = 0.0

    def output(self, x: Feature) -> Feature:
        kept("mixer", self.mixer, image(self, x))
        return kept("channel_mixer", self.channel_mixer, x)

    def build(self, x: Feature) -> nn.Module:
        self.output(x)
        return GlobalLocalBlock(
            x.channels,
            self.mixer.build(x),
            self.channel_mixer.build(x),
            self.position_kernel,
            self.norm,
            self.layer_scale,
            self.drop_path,
        )

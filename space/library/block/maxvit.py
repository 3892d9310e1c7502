"""The MaxViT block: a convolution, then attention along several axes."""

from __future__ import annotations

from typing import Annotated, ClassVar

from torch import Tensor, nn

from archfront.space.errors import ShapeError
from archfront.space.library.block.metaformer import MetaFormerBlock
from archfront.space.library.block.prenorm_mbconv import PreNormMBConv
from archfront.space.library.channel_mixer.feed_forward import FeedForward
from archfront.space.library.common import Norm, kept
from archfront.space.library.mixer.partition_attention import PartitionAttention
from archfront.space.spec import ChannelMixer, Factor, Mixer, Paper, Probability, Rule, StridedBlock
from archfront.space.types import Feature


class MultiAxisBlock(nn.Module):
    """A convolutional block followed by transformer-like ones."""

    def __init__(self, convolution: nn.Module, attentions: tuple[nn.Module, ...]) -> None:
        super().__init__()
        self.convolution = convolution
        self.attentions = nn.Sequential(*attentions)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.attentions(self.convolution(x))
        return y


class MaxViT(StridedBlock):
    """x <- convolution(x), then for each mixer x <- x + s mixer(norm(x)), x <- x + s channel_mixer(norm(x)).

    With its defaults: an inverted residual, attention in windows of neighbours, attention in grids over the whole map.
    The convolution changes width and stride. The order of attention is the order of `mixers`; one of them alone, or
    any other mixer, works as well.

    Args:
        convolution: the convolutional block.
        mixers: what mixes positions, one after the other.
        channel_mixer: mixes channels behind every mixer.
        norm: in front of mixers and channel mixers.
        layer_scale: s is a learnt factor a channel that starts at this value; None leaves it out.
        drop_path: probability of leaving out each of the branches behind the convolution in training.

    Tu et al., 2022, MaxViT: Multi-Axis Vision Transformer.
    """

    paper: ClassVar[Paper] = PreNormMBConv.paper

    convolution: StridedBlock = PreNormMBConv()
    mixers: Annotated[tuple[Mixer, ...], Rule("a tuple of at least one mixer", len)] = (
        PartitionAttention(partition="window"),
        PartitionAttention(partition="grid"),
    )
    channel_mixer: ChannelMixer = FeedForward()
    norm: Norm = "layer"
    layer_scale: Factor | None = None
    drop_path: Probability = 0.0

    def output(self, x: Feature) -> Feature:
        convolution = self.convolution.at(self.width, self.stride)
        try:
            y = convolution.output(x)
        except ShapeError as error:
            raise error.inside("convolution") from None
        for number, mixer in enumerate(self.mixers):
            kept(f"mixers[{number}]", mixer, y)
        return kept("channel_mixer", self.channel_mixer, y)

    def build(self, x: Feature) -> nn.Module:
        y = self.output(x)
        return MultiAxisBlock(
            self.convolution.at(self.width, self.stride).build(x),
            tuple(
                MetaFormerBlock(
                    y.channels,
                    mixer.build(y),
                    self.channel_mixer.build(y),
                    self.norm,
                    self.layer_scale,
                    self.drop_path,
                )
                for mixer in self.mixers
            ),
        )

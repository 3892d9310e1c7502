"""Perceptrons along columns, rows and channels in turn."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from archfront.space.library.channel_mixer.feed_forward import FeedForward
from archfront.space.library.common import Activation, Norm, image, kept
from archfront.space.library.layers import DropPath, make_norm
from archfront.space.library.mixer.raft_token_mixing import RaftTokenMixing, resized
from archfront.space.spec import Block, ChannelMixer, Factor, Paper, Positive, Probability
from archfront.space.types import Feature


class RaftBlock(nn.Module):
    """Residual mixers of columns, of rows and of channels, each behind a normalisation over channels.

    Columns and rows are mixed at `size`, to which other maps are resized and from which they are resized back.
    """

    def __init__(
        self,
        channels: int,
        size: tuple[int, int],
        vertical: nn.Module,
        horizontal: nn.Module,
        channel_mixer: nn.Module,
        norm: str = "layer",
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.size = size
        self.norm1 = make_norm(norm, channels)
        self.vertical = vertical
        self.norm2 = make_norm(norm, channels)
        self.horizontal = horizontal
        self.norm3 = make_norm(norm, channels)
        self.channel_mixer = channel_mixer
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        given = x.shape[2:]
        x = resized(x, self.size)
        x = x + self.drop_path(self.vertical(self.norm1(x)))
        x = x + self.drop_path(self.horizontal(self.norm2(x)))
        x = resized(x, given)
        y: Tensor = x + self.drop_path(self.channel_mixer(self.norm3(x)))
        return y


class RaftMLP(Block):
    """x <- x + V norm1(x); x <- x + H norm2(x); x <- x + channel_mixer(norm3(x)), V and H those of RaftTokenMixing.

    V is a perceptron along the columns of the map, H one along its rows, both over `rafts` channels at once. Their
    weights fit one map size; maps of another size are interpolated bicubically in front of V and back behind H.

    Args:
        rafts: channels that V and H mix; divides the width.
        expand: hidden length of V and H over their length.
        activation: activation inside V and H.
        channel_mixer: mixes channels.
        norm: norm1, norm2 and norm3.
        drop_path: probability of leaving out each of the three branches of a sample in training.

    Tatsunami and Taki, 2022, RaftMLP: How Much Can Be Done Without Attention and with Less Spatial Locality?
    """

    paper: ClassVar[Paper] = RaftTokenMixing.paper

    rafts: Positive = 2
    expand: Factor = 2.0
    activation: Activation = "gelu"
    channel_mixer: ChannelMixer = FeedForward()
    norm: Norm = "layer"
    drop_path: Probability = 0.0

    def output(self, x: Feature) -> Feature:
        self._mixing().output(image(self, x))
        return kept("channel_mixer", self.channel_mixer, x)

    def build(self, x: Feature) -> nn.Module:
        height, width = self.output(x).size
        mixing = self._mixing()
        return RaftBlock(
            x.channels,
            (height, width),
            mixing.along(height, vertical=True),
            mixing.along(width, vertical=False),
            self.channel_mixer.build(x),
            self.norm,
            self.drop_path,
        )

    def _mixing(self) -> RaftTokenMixing:
        return RaftTokenMixing(rafts=self.rafts, expand=self.expand, activation=self.activation)

"""The non-local block: a residual sum over all positions that can be put behind any block."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from archfront.space.library.common import kept
from archfront.space.library.layers import DropPath
from archfront.space.library.mixer.non_local import NonLocal
from archfront.space.spec import Block, Mixer, Paper, Probability
from archfront.space.types import Feature


class ResidualMixerBlock(nn.Module):
    """A mixer of positions, batch norm of its result (N, C, *size), and a shortcut around both."""

    def __init__(self, channels: int, mixer: nn.Module, zero_init: bool = False, drop_path: float = 0.0) -> None:
        super().__init__()
        self.mixer = mixer
        self.norm = nn.BatchNorm1d(channels)
        self.drop_path = DropPath(drop_path)
        if zero_init:
            nn.init.zeros_(self.norm.weight)

    def forward(self, x: Tensor) -> Tensor:
        branch = self.norm(self.mixer(x).flatten(2)).reshape(x.shape)
        y: Tensor = x + self.drop_path(branch)
        return y


class NonLocalBlock(Block):
    """x + BN(mixer(x)): with the default mixer the non-local block.

    In the paper it stands in front of the last block of the third stage of a ResNet, or behind every other block of the
    second and third stage.

    Args:
        mixer: mixes positions.
        zero_init: the scale of BN starts at 0, as in the paper and the authors' code, so that the block begins as the
            identity: a trained network can take it up, and a new one trains as steadily as without it. With shared
            weights all choices inside the block then begin alike and part in the first steps. Without it the mixer
            counts from the start.
        drop_path: probability of leaving out the residual branch of a sample in training.

    Wang et al., 2018, Non-local Neural Networks.
    """

    paper: ClassVar[Paper] = NonLocal.paper

    mixer: Mixer = NonLocal(subsample=2)
    zero_init: bool = True
    drop_path: Probability = 0.0

    def output(self, x: Feature) -> Feature:
        return kept("mixer", self.mixer, x)

    def build(self, x: Feature) -> nn.Module:
        self.output(x)
        return ResidualMixerBlock(x.channels, self.mixer.build(x), self.zero_init, self.drop_path)

"""Patches of several sizes around the same points between stages."""

from __future__ import annotations

from typing import ClassVar

from torch import nn

from archfront.space.library.common import image
from archfront.space.library.mixer.raft_token_mixing import RaftTokenMixing
from archfront.space.library.stem.multi_scale_patch import MultiScalePatches
from archfront.space.spec import Downsample, Paper, Positive
from archfront.space.types import Feature


class MultiScalePatchDownsample(Downsample):
    """W p + b on all patches p around each tile of `stride` x `stride` positions, of `scales` times its extent.

    Maps that the tiles do not divide are first resized bicubically.

    Args:
        scales: extents of the patches over that of a tile; (1,) gives plain patches.

    Tatsunami and Taki, 2022, RaftMLP: How Much Can Be Done Without Attention and with Less Spatial Locality?
    """

    paper: ClassVar[Paper] = RaftTokenMixing.paper

    scales: tuple[Positive, ...] = (1, 2)

    def output(self, x: Feature) -> Feature:
        return image(self, x).at(self.width, self.stride)

    def build(self, x: Feature) -> nn.Module:
        return MultiScalePatches(x.channels, self.output(x).channels, self.stride, self.scales)

"""No mixing of positions."""

from __future__ import annotations

from typing import ClassVar

from torch import nn

from archfront.space.spec import Mixer, Paper
from archfront.space.types import Feature


class IdentityMixer(Mixer):
    """y = x: what is left of a block when its mixer does nothing, the floor that other mixers are compared with.

    Yu et al., 2024, MetaFormer Baselines for Vision.
    """

    paper: ClassVar[Paper] = Paper(
        title="MetaFormer Baselines for Vision",
        authors="Weihao Yu, Chenyang Si, Pan Zhou, Mi Luo, Yichen Zhou, Jiashi Feng, Shuicheng Yan, Xinchao Wang",
        year=2024,
    )

    def build(self, x: Feature) -> nn.Module:
        return nn.Identity()

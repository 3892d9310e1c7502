"""Self-attention by content and distance as a mixer of positions."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import nn

from archfront.space.library.common import image
from archfront.space.library.operator.all_to_all_attention import AllToAllAttention
from archfront.space.spec import Mixer, Paper, Positive
from archfront.space.types import Feature


class AllToAllMixer(Mixer):
    """softmax_j((q_i . k_j + q_i . r_ij) / sqrt(d)) v_j in each head over all positions: `AllToAllAttention` as a mixer.

    Like there, nothing has a bias and no projection follows the heads: the channel mixer of the host joins them.

    Args:
        heads: number of heads; must divide the width.
        position: r_ij: of the distance, of the position of j alone ("absolute"), or none.

    Srinivas et al., 2021, Bottleneck Transformers for Visual Recognition.
    """

    paper: ClassVar[Paper] = AllToAllAttention.paper

    heads: Positive = 4
    position: Literal["none", "absolute", "relative"] = "relative"

    def _operator(self) -> AllToAllAttention:
        return AllToAllAttention(heads=self.heads, position=self.position)

    def output(self, x: Feature) -> Feature:
        return self._operator().output(image(self, x))

    def build(self, x: Feature) -> nn.Module:
        return self._operator().build(x)

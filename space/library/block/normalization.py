"""A normalisation on its own."""

from __future__ import annotations

from typing import ClassVar

from torch import nn

from archfront.space.library.common import Norm, image
from archfront.space.library.layers import make_norm
from archfront.space.spec import Block, Paper
from archfront.space.types import Feature


class Normalization(Block):
    """norm(x): ends a stage whose blocks normalise only what they add, as in PVT v2 and MogaNet.

    Ba, Kiros and Hinton, 2016, Layer Normalization.
    """

    paper: ClassVar[Paper] = Paper(
        title="Layer Normalization", authors="Jimmy Lei Ba, Jamie Ryan Kiros, Geoffrey E. Hinton", year=2016
    )

    norm: Norm = "layer"

    def output(self, x: Feature) -> Feature:
        return image(self, x)

    def build(self, x: Feature) -> nn.Module:
        return make_norm(self.norm, image(self, x).channels)

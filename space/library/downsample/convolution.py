"""Strided convolution between stages."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import nn

from archfront.space.library.common import image
from archfront.space.library.layers import ConvNormAct
from archfront.space.spec import Downsample, Odd, Paper
from archfront.space.types import Feature


class ConvDownsample(Downsample):
    """norm(W * x): a strided convolution (with bias where there is no norm), then a normalisation; no activation.

    With kernel 3 and no norm it is the patch embedding between the stages of PoolFormer.

    Springenberg et al., 2015, Striving for Simplicity: The All Convolutional Net.
    """

    paper: ClassVar[Paper] = Paper(
        title="Striving for Simplicity: The All Convolutional Net",
        authors="Jost Tobias Springenberg, Alexey Dosovitskiy, Thomas Brox, Martin Riedmiller",
        year=2015,
        key="all_convolutional_net",
    )

    kernel: Odd = 3
    norm: Literal["batch", "layer", "group1", "none"] = "batch"

    def output(self, x: Feature) -> Feature:
        return image(self, x).at(self.width, self.stride)

    def build(self, x: Feature) -> nn.Module:
        return ConvNormAct(x.channels, self.output(x).channels, self.kernel, self.stride, norm=self.norm)

"""Involution as a mixer of positions."""

from __future__ import annotations

from typing import ClassVar

from torch import nn

from archfront.space.library.common import image
from archfront.space.library.operator.involution import Involution, Involution2d, group_count
from archfront.space.spec import Mixer, Odd, Paper, Positive
from archfront.space.types import Feature


class InvolutionMixer(Mixer):
    """y_c(p) = sum_u w_g(c),u(p) x_c(p + u), w = V relu(BN(W x)) + b: the operator `Involution` without a stride.

    Args:
        kernel: extent of the neighbourhood.
        group_channels: channels that share weights; divides the width, unless that is smaller: then all share.
        reduction: the inner width is the width over it, rounded down.

    Li et al., 2021, Involution: Inverting the Inherence of Convolution for Visual Recognition.
    """

    paper: ClassVar[Paper] = Involution.paper

    kernel: Odd = 7
    group_channels: Positive = 16
    reduction: Positive = 4

    def output(self, x: Feature) -> Feature:
        group_count(image(self, x).channels, self.group_channels)
        return x

    def build(self, x: Feature) -> nn.Module:
        channels = self.output(x).channels
        groups = group_count(channels, self.group_channels)
        return Involution2d(channels, max(1, channels // self.reduction), groups, self.kernel)

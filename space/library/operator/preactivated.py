"""Activation, operator and norm in the order of search cells."""

from __future__ import annotations

from typing import ClassVar

from torch import nn

from archfront.space.library.common import image, resampled
from archfront.space.library.operator.conv import Conv
from archfront.space.spec import Operator, Paper
from archfront.space.types import Feature


class PreactivatedLayer(nn.Sequential):
    """ReLU, an operator, batch norm."""

    def __init__(self, operator: nn.Module, out_channels: int) -> None:
        super().__init__()
        self.act = nn.ReLU()
        self.operator = operator
        self.norm = nn.BatchNorm2d(out_channels)


class Preactivated(Operator):
    """BN(F relu(x)): how the convolutions of search cells are written, F any operator.

    Args:
        operator: F; it is given width and stride.

    Zoph et al., 2018, Learning Transferable Architectures for Scalable Image Recognition.
    """

    paper: ClassVar[Paper] = Paper(
        title="Learning Transferable Architectures for Scalable Image Recognition",
        authors="Barret Zoph, Vijay Vasudevan, Jonathon Shlens, Quoc V. Le",
        year=2018,
        key="nasnet_cell_space",
    )

    operator: Operator = Conv(kernel=1)

    def output(self, x: Feature) -> Feature:
        y = image(self, x).at(self.width, self.stride)
        return resampled("operator", self.operator.at(y.channels, self.stride), x)

    def build(self, x: Feature) -> nn.Module:
        y = self.output(x)
        return PreactivatedLayer(self.operator.at(y.channels, self.stride).build(x), y.channels)

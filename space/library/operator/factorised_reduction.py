"""A strided 1x1 convolution that reads every other diagonal neighbour too."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archfront.space.errors import ShapeError
from archfront.space.library.common import image
from archfront.space.library.operator.preactivated import Preactivated
from archfront.space.spec import Operator, Paper
from archfront.space.types import Feature


class FactorisedReduction2d(nn.Module):
    """Two 1x1 convolutions on the positions of a grid and of the same grid moved by half a stride, concatenated."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 2) -> None:
        super().__init__()
        self.stride = stride
        self.conv1 = nn.Conv2d(in_channels, out_channels - out_channels // 2, 1, bias=False)
        self.conv2 = nn.Conv2d(in_channels, out_channels // 2, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        step, shift = self.stride, self.stride // 2
        moved = F.pad(x, (0, shift, 0, shift))[:, :, shift:, shift:]
        return torch.cat([self.conv1(x[:, :, ::step, ::step]), self.conv2(moved[:, :, ::step, ::step])], 1)


class FactorisedReduction(Operator):
    """[U x(2i, 2j), V x(2i + 1, 2j + 1)]: half of the channels from every second position, half from those between.

    U and V are 1x1 convolutions without bias; x is zero beyond the edge. Loses less than a 1x1 convolution of stride 2,
    which never sees three quarters of the map. For other strides the second grid is moved by half of it.

    Zoph et al., 2018, Learning Transferable Architectures for Scalable Image Recognition.
    """

    paper: ClassVar[Paper] = Preactivated.paper

    def output(self, x: Feature) -> Feature:
        y = image(self, x).at(self.width, self.stride)
        if y.channels < 2:
            raise ShapeError("two convolutions side by side cannot yield one channel; use a width of 2 or more")
        return y

    def build(self, x: Feature) -> nn.Module:
        return FactorisedReduction2d(x.channels, self.output(x).channels, self.stride)

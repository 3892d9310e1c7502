"""Two convolutions around an involution as the entry of a network."""

from __future__ import annotations

from typing import ClassVar

from torch import nn

from archfront.space.library.common import image
from archfront.space.library.layers import ConvNormAct
from archfront.space.library.operator.involution import Involution, Involution2d, group_count
from archfront.space.spec import Odd, Paper, Positive, Stem
from archfront.space.types import Feature


class RedNetStem(nn.Sequential):
    """3x3 convolution with stride 2, involution, 3x3 convolution, each with BN and ReLU, then 3x3 max-pooling."""

    def __init__(
        self,
        in_channels: int,
        hidden: int,
        out_channels: int,
        reduced: int,
        groups: int,
        kernel: int = 3,
        pool: bool = True,
    ) -> None:
        super().__init__()
        self.conv1 = ConvNormAct(in_channels, hidden, 3, 2, activation="relu")
        self.involution = Involution2d(hidden, reduced, groups, kernel)
        self.norm = nn.BatchNorm2d(hidden)
        self.act = nn.ReLU()
        self.conv2 = ConvNormAct(hidden, out_channels, 3, activation="relu")
        self.pool = nn.MaxPool2d(3, 2, padding=1) if pool else nn.Identity()


class InvolutionStem(Stem):
    """pool(relu(BN(W2 * relu(BN(involution(relu(BN(W1 * x)))))))): sizes become ceil(n / 2), with `pool` twice.

    W1 maps to half the width with stride 2.

    Args:
        kernel: extent of the involution.
        group_channels, reduction: of the involution, as in `Involution`.
        pool: whether a 3x3 max-pooling with stride 2 follows.

    Li et al., 2021, Involution: Inverting the Inherence of Convolution for Visual Recognition.
    """

    paper: ClassVar[Paper] = Involution.paper

    kernel: Odd = 3
    group_channels: Positive = 16
    reduction: Positive = 4
    pool: bool = True

    def output(self, x: Feature) -> Feature:
        group_count(self._hidden, self.group_channels)
        return image(self, x).at(self.width, 2).at(stride=2 if self.pool else 1)

    def build(self, x: Feature) -> nn.Module:
        self.output(x)
        hidden = self._hidden
        groups = group_count(hidden, self.group_channels)
        reduced = max(1, hidden // self.reduction)
        return RedNetStem(x.channels, hidden, self.width, reduced, groups, self.kernel, self.pool)

    @property
    def _hidden(self) -> int:
        return max(1, self.width // 2)

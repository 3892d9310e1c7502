"""The unit of ShuffleNet V2: half of the channels pass, the others are convolved, and both are shuffled."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from archfront.space.errors import ShapeError
from archfront.space.library.common import Activation, image
from archfront.space.library.layers import ConvNormAct, DropPath
from archfront.space.spec import Odd, Paper, Probability, StridedBlock
from archfront.space.types import Feature


class ShuffleUnit(nn.Module):
    """Two paths side by side, one channel of each in turn; both see all channels where `entry`, otherwise half each."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int = 3,
        stride: int = 1,
        entry: bool = False,
        activation: str = "relu",
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.entry = entry
        half = out_channels // 2
        fed = in_channels if entry else half
        self.around = (
            nn.Sequential(
                ConvNormAct(in_channels, in_channels, kernel, stride, groups=in_channels),
                ConvNormAct(in_channels, half, activation=activation),
            )
            if entry
            else nn.Identity()
        )
        self.reduce = ConvNormAct(fed, half, activation=activation)
        self.depthwise = ConvNormAct(half, half, kernel, stride, groups=half)
        self.expand = ConvNormAct(half, half, activation=activation)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        first, second = (x, x) if self.entry else x.chunk(2, 1)
        branch = self.drop_path(self.expand(self.depthwise(self.reduce(second))))
        return torch.stack((self.around(first), branch), 2).flatten(1, 2)


class Shuffle(StridedBlock):
    """y = shuffle(x_1, act(BN(W2 BN(D * act(BN(W1 x_2)))))): x_1 and x_2 the halves of the channels of x, D depthwise.

    shuffle takes one channel of each path in turn, so that the next unit mixes both. Where the width or the stride
    changes, both paths see all of x, the first through a depthwise convolution with the stride, BN, and a 1x1 convolution
    with BN and act. The 1x1 convolutions W1 and W2 keep half the width, which must be even.

    Args:
        kernel: extent of the depthwise convolutions.
        activation: act.
        drop_path: probability of zeroing the convolved half of a sample in training.

    Ma et al., 2018, ShuffleNet V2: Practical Guidelines for Efficient CNN Architecture Design.
    """

    paper: ClassVar[Paper] = Paper(
        title="ShuffleNet V2: Practical Guidelines for Efficient CNN Architecture Design",
        authors="Ningning Ma, Xiangyu Zhang, Hai-Tao Zheng, Jian Sun",
        year=2018,
    )

    kernel: Odd = 3
    activation: Activation = "relu"
    drop_path: Probability = 0.0

    def output(self, x: Feature) -> Feature:
        y = image(self, x).at(self.width, self.stride)
        if y.channels % 2:
            raise ShapeError(f"{y.channels} channels have no halves; use {y.channels - 1} or {y.channels + 1}")
        return y

    def build(self, x: Feature) -> nn.Module:
        y = self.output(x)
        entry = self.stride > 1 or x.channels != y.channels
        return ShuffleUnit(x.channels, y.channels, self.kernel, self.stride, entry, self.activation, self.drop_path)

"""Residual block whose shortcut is a maximum over tiles."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from archfront.space.library.common import Activation, image, resampled, scaled
from archfront.space.library.layers import ConvNormAct, DropPath, make_activation
from archfront.space.library.operator.conv import Conv
from archfront.space.spec import Factor, Operator, Paper, Probability, StridedBlock
from archfront.space.types import Feature


class NarrowBranch(nn.Sequential):
    """1x1 convolution, a convolution on `hidden` channels, 1x1 convolution, each with norm; activations between them."""

    def __init__(
        self, in_channels: int, out_channels: int, hidden: int, conv: nn.Module, activation: str = "relu"
    ) -> None:
        super().__init__()
        self.reduce = ConvNormAct(in_channels, hidden, activation=activation)
        self.conv = conv
        self.norm = nn.BatchNorm2d(hidden)
        self.act = make_activation(activation)
        self.expand = ConvNormAct(hidden, out_channels)


class WideBranch(nn.Sequential):
    """Two convolutions, each with norm, and an activation between them."""

    def __init__(self, channels: int, conv1: nn.Module, conv2: nn.Module, activation: str = "relu") -> None:
        super().__init__()
        self.conv1 = conv1
        self.norm1 = nn.BatchNorm2d(channels)
        self.act = make_activation(activation)
        self.conv2 = conv2
        self.norm2 = nn.BatchNorm2d(channels)


class PooledResidualModule(nn.Module):
    """A branch beside a shortcut that takes the maximum of every tile and projects it where the width changes."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        branch: nn.Module,
        stride: int = 1,
        activation: str = "relu",
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.branch = branch
        self.drop_path = DropPath(drop_path)
        self.pool = nn.MaxPool2d(stride, ceil_mode=True) if stride > 1 else nn.Identity()
        self.project = ConvNormAct(in_channels, out_channels) if in_channels != out_channels else nn.Identity()
        self.act = make_activation(activation)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.act(self.project(self.pool(x)) + self.drop_path(self.branch(x)))
        return y


class PooledResidual(StridedBlock):
    """act(S x + BN(E act(BN(K act(BN(R x)))))), or without `ratio` act(S x + BN(K2 act(BN(K1 x)))).

    R and E are 1x1 convolutions; K or K1 carries the stride. S takes the maximum of tiles of the stride, so that its
    1x1 convolution with BN, needed only where the width changes, reads the strongest position. With its defaults it is
    the basic block of DLA, with `ratio=0.5` its bottleneck, with `ratio=1, operator=Conv(groups=32)` that of DLA-X.

    Args:
        ratio: hidden width over output width; None leaves R and E out.
        operator: K, or K1 and K2: a 3x3 convolution in the paper.
        activation: act.
        drop_path: probability of leaving out the residual branch of a sample in training.

    Yu et al., 2018, Deep Layer Aggregation.
    """

    paper: ClassVar[Paper] = Paper(
        title="Deep Layer Aggregation",
        authors="Fisher Yu, Dequan Wang, Evan Shelhamer, Trevor Darrell",
        year=2018,
        key="deep_layer_aggregation",
    )

    ratio: Factor | None = None
    operator: Operator = Conv(kernel=3)
    activation: Activation = "relu"
    drop_path: Probability = 0.0

    def output(self, x: Feature) -> Feature:
        y = image(self, x).at(self.width, self.stride)
        hidden = y.channels if self.ratio is None else scaled(y.channels, self.ratio)
        resampled("operator", self.operator.at(hidden, self.stride), x if self.ratio is None else x.at(hidden))
        if self.ratio is None:
            resampled("operator", self.operator.at(hidden, 1), y)
        return y

    def build(self, x: Feature) -> nn.Module:
        y = self.output(x)
        return PooledResidualModule(
            x.channels, y.channels, self._branch(x, y), self.stride, self.activation, self.drop_path
        )

    def _branch(self, x: Feature, y: Feature) -> nn.Module:
        if self.ratio is None:
            first, second = self.operator.at(y.channels, self.stride), self.operator.at(y.channels, 1)
            return WideBranch(y.channels, first.build(x), second.build(y), self.activation)
        hidden = scaled(y.channels, self.ratio)
        conv = self.operator.at(hidden, self.stride).build(x.at(hidden))
        return NarrowBranch(x.channels, y.channels, hidden, conv, self.activation)

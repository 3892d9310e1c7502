"""Residual bottleneck with a regulariser behind every convolution."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from archfront.space.library.block.bottleneck import Bottleneck, BottleneckBlock
from archfront.space.library.common import Finished, kept
from archfront.space.library.gate.dropblock import DropBlock
from archfront.space.spec import Gate, Paper
from archfront.space.types import Feature


class RegularisedBottleneckBlock(BottleneckBlock):
    """1x1 reduction, a convolution on few channels, 1x1 expansion and a shortcut, each with a regulariser behind it."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        hidden: int,
        conv: nn.Module,
        regularisers: tuple[nn.Module, nn.Module, nn.Module, nn.Module],
        stride: int = 1,
        activation: str = "relu",
        gate: nn.Module | None = None,
        pool_shortcut: bool = False,
        drop_path: float = 0.0,
        placement: str = "standard",
        reduce_stride: int = 1,
        finished: bool = False,
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            hidden,
            conv,
            stride,
            activation,
            gate,
            pool_shortcut,
            drop_path,
            placement,
            reduce_stride,
            finished,
        )
        self.drop1, self.drop2, self.drop3, self.drop_skip = regularisers

    def forward(self, x: Tensor) -> Tensor:
        reduced = self.drop1(self.reduce(self.gated("pre", x)))
        hidden = self.drop2(self.act1(self.norm(self.conv(reduced))))
        branch = self.gated("standard", self.drop3(self.expand(self.gated("mid", hidden))))
        skip = self.gated("identity", self.drop_skip(self.shortcut(x)))
        return self.gated("post", self.act2(skip + self.drop_path(branch)))


class RegularisedBottleneck(Bottleneck):
    """act(d S x + gate(d E d act(BN(K d act(R x))))): a `Bottleneck` with a regulariser d behind every convolution.

    Args:
        regulariser: d; acts on normalised and activated maps, on the skip and in training only.
        on_skip: whether it acts on S x, too.

    Ghiasi, Lin and Le, 2018, DropBlock: A regularization method for convolutional networks.
    """

    paper: ClassVar[Paper] = DropBlock.paper

    regulariser: Gate = DropBlock()
    on_skip: bool = True

    def output(self, x: Feature) -> Feature:
        y = super().output(x)
        for place in self._places(x):
            kept("regulariser", self.regulariser, place)
        return y

    def build(self, x: Feature) -> nn.Module:
        y = self.output(x)
        operator, entry = self._operator(x)
        first, second, third, skip = (self.regulariser.build(place) for place in self._places(x))
        return RegularisedBottleneckBlock(
            x.channels,
            y.channels,
            entry.channels,
            operator.build(entry),
            (first, second, third, skip if self.on_skip else nn.Identity()),
            self.stride,
            self.activation,
            None if self.gate is None else self.gate.build(self._gated(x)),
            self.shortcut == "average",
            self.drop_path,
            self.placement,
            self.stride // operator.stride,
            isinstance(operator, Finished),
        )

    def _places(self, x: Feature) -> tuple[Feature, Feature, Feature, Feature]:
        """What the regulariser is fed behind R, K, E and S."""
        y = x.at(self.width, self.stride)
        entry = self._operator(x)[1]
        return entry, y.at(entry.channels), y, y

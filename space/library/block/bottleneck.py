"""Residual block with a narrow middle."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor, nn

from archfront.space.library.common import Activation, Finished, image, kept, resampled, scaled
from archfront.space.library.layers import ConvNormAct, DropPath, Shortcut, make_activation
from archfront.space.library.operator.conv import Conv
from archfront.space.spec import Factor, Gate, Operator, Paper, Probability, StridedBlock
from archfront.space.types import Feature


class BottleneckBlock(nn.Module):
    """1x1 reduction, a convolution on few channels, 1x1 expansion, a shortcut around them, a gate where `placement` says.

    The convolution strides, or where `reduce_stride` is above 1 the reduction in front of it. Batch norm and activation
    stand behind the convolution unless it is `finished`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        hidden: int,
        conv: nn.Module,
        stride: int = 1,
        activation: str = "relu",
        gate: nn.Module | None = None,
        pool_shortcut: bool = False,
        drop_path: float = 0.0,
        placement: str = "standard",
        reduce_stride: int = 1,
        finished: bool = False,
    ) -> None:
        super().__init__()
        self.placement = placement
        self.reduce = ConvNormAct(in_channels, hidden, stride=reduce_stride, activation=activation)
        self.conv = conv
        self.norm = nn.Identity() if finished else nn.BatchNorm2d(hidden)
        self.act1 = nn.Identity() if finished else make_activation(activation)
        self.expand = ConvNormAct(hidden, out_channels)
        self.gate = nn.Identity() if gate is None else gate
        self.drop_path = DropPath(drop_path)
        self.shortcut = Shortcut(in_channels, out_channels, stride, pool_shortcut)
        self.act2 = make_activation(activation)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.act1(self.norm(self.conv(self.reduce(self.gated("pre", x)))))
        branch = self.gated("standard", self.expand(self.gated("mid", hidden)))
        skip = self.gated("identity", self.shortcut(x))
        return self.gated("post", self.act2(skip + self.drop_path(branch)))

    def gated(self, place: str, x: Tensor) -> Tensor:
        """`x` behind the gate, if this is its place."""
        return self.gate(x) if place == self.placement else x


class Bottleneck(StridedBlock):
    """act(S x + gate(E act(BN(K act(R x))))): R and E 1x1 convolutions with BN, K on `ratio` times the output width.

    S is the identity or a 1x1 convolution with BN. The hidden width is rounded to the nearest integer.
    `operator=Conv(groups=32), ratio=0.5` is ResNeXt 32x4d, with `SelectiveKernel(groups=32)` SKNet, `ratio=0.5` alone the
    wide ResNet-50-2. An operator that normalises and activates by itself has nothing behind it.

    Args:
        ratio: hidden width over output width.
        operator: K, a 3x3 convolution in the paper.
        activation: act.
        gate: rescales features; None leaves it out.
        placement: where it acts. "standard": on the branch before the addition; "pre": on the branch's input; "post": on
            the sum after the last activation; "identity": on S x; "mid": on the hidden width after K's activation, as
            in inverted residuals.
        stride_on: which convolution strides: the "operator" K (the variant known as v1.5), or the "reduction" R (as
            published).
        shortcut: how S changes the type where it must: "projection" strides, "average" averages tiles first (ResNet-D).
        drop_path: probability of leaving out the residual branch of a sample in training.

    He et al., 2016, Deep Residual Learning for Image Recognition; groups from Xie et al., 2017, Aggregated Residual
    Transformations for Deep Neural Networks; places of the gate from Hu et al., 2018, Squeeze-and-Excitation Networks.
    """

    paper: ClassVar[Paper] = Paper(
        title="Deep Residual Learning for Image Recognition",
        authors="Kaiming He, Xiangyu Zhang, Shaoqing Ren, Jian Sun",
        year=2016,
    )

    ratio: Factor = 0.25
    operator: Operator = Conv(kernel=3)
    activation: Activation = "relu"
    gate: Gate | None = None
    placement: Literal["standard", "pre", "post", "identity", "mid"] = "standard"
    stride_on: Literal["operator", "reduction"] = "operator"
    shortcut: Literal["projection", "average"] = "projection"
    drop_path: Probability = 0.0

    def output(self, x: Feature) -> Feature:
        y = image(self, x).at(self.width, self.stride)
        resampled("operator", *self._operator(x))
        if self.gate is not None:
            kept("gate", self.gate, self._gated(x))
        return y

    def build(self, x: Feature) -> nn.Module:
        y = self.output(x)
        operator, entry = self._operator(x)
        return BottleneckBlock(
            x.channels,
            y.channels,
            entry.channels,
            operator.build(entry),
            self.stride,
            self.activation,
            None if self.gate is None else self.gate.build(self._gated(x)),
            self.shortcut == "average",
            self.drop_path,
            self.placement,
            self.stride // operator.stride,
            isinstance(operator, Finished),
        )

    def _operator(self, x: Feature) -> tuple[Operator, Feature]:
        """K, and what it is fed."""
        hidden = scaled(self.width or x.channels, self.ratio)
        if self.stride_on == "operator":
            return self.operator.at(hidden, self.stride), x.at(hidden)
        return self.operator.at(hidden, 1), x.at(hidden, self.stride)

    def _gated(self, x: Feature) -> Feature:
        """What the gate is fed."""
        if self.placement == "pre":
            return x
        return x.at(self._operator(x)[1].channels if self.placement == "mid" else self.width, self.stride)

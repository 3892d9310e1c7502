"""Residual bottleneck with a gate in any of its places."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor, nn

from archfront.space.library.block.bottleneck import Bottleneck
from archfront.space.library.common import image, kept, resampled, scaled
from archfront.space.library.gate.squeeze_excite import SqueezeExcite
from archfront.space.library.layers import ConvNormAct, DropPath, Shortcut, make_activation
from archfront.space.spec import Gate, Paper
from archfront.space.types import Feature


class GatedBottleneckBlock(nn.Module):
    """1x1 reduction, a convolution on few channels, 1x1 expansion, a shortcut around them, a gate where `placement` says."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        hidden: int,
        conv: nn.Module,
        gate: nn.Module,
        placement: str = "standard",
        stride: int = 1,
        reduce_stride: int = 1,
        activation: str = "relu",
        pool_shortcut: bool = False,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.placement = placement
        self.reduce = ConvNormAct(in_channels, hidden, stride=reduce_stride, activation=activation)
        self.conv = conv
        self.norm = nn.BatchNorm2d(hidden)
        self.act1 = make_activation(activation)
        self.expand = ConvNormAct(hidden, out_channels)
        self.gate = gate
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


class GatedBottleneck(Bottleneck):
    """act(S x + E act(BN(K act(R x)))) with a gate at one of five places; otherwise a `Bottleneck`.

    Args:
        gate: rescales features; None leaves it out.
        placement: where it acts. "standard": on the branch before the addition; "pre": on the branch's input; "post": on
            the sum after the last activation; "identity": on S x; "mid": on the hidden width after K's activation, as
            in inverted residuals.
        stride_on: which convolution strides: K (v1.5, torchvision) or R (v1, as published and in Caffe).

    Hu et al., 2018, Squeeze-and-Excitation Networks; v1 as in He et al., 2016, Deep Residual Learning for Image
    Recognition.
    """

    paper: ClassVar[Paper] = SqueezeExcite.paper

    gate: Gate | None = SqueezeExcite(ratio=1 / 16)
    placement: Literal["standard", "pre", "post", "identity", "mid"] = "standard"
    stride_on: Literal["operator", "reduction"] = "operator"

    def output(self, x: Feature) -> Feature:
        y = image(self, x).at(self.width, self.stride)
        entry, stride = self._hidden(x)
        resampled("operator", self.operator.at(entry.channels, stride), entry)
        if self.gate is not None:
            kept("gate", self.gate, self._gated(x))
        return y

    def build(self, x: Feature) -> nn.Module:
        y = self.output(x)
        entry, stride = self._hidden(x)
        return GatedBottleneckBlock(
            x.channels,
            y.channels,
            entry.channels,
            self.operator.at(entry.channels, stride).build(entry),
            nn.Identity() if self.gate is None else self.gate.build(self._gated(x)),
            self.placement,
            self.stride,
            self.stride // stride,
            self.activation,
            self.shortcut == "average",
            self.drop_path,
        )

    def _hidden(self, x: Feature) -> tuple[Feature, int]:
        """What the operator is fed, and its stride."""
        hidden = scaled(self.width or x.channels, self.ratio)
        return (x.at(hidden), self.stride) if self.stride_on == "operator" else (x.at(hidden, self.stride), 1)

    def _gated(self, x: Feature) -> Feature:
        """What the gate is fed."""
        if self.placement == "pre":
            return x
        return x.at(self._hidden(x)[0].channels if self.placement == "mid" else self.width, self.stride)

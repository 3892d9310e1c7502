"""The omni-scale block of OSNet: streams of growing receptive field, added up behind a gate."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor, nn

from archfront.space.errors import ShapeError
from archfront.space.library.common import image, kept, resampled, scaled
from archfront.space.library.gate.squeeze_excite import SqueezeExcite
from archfront.space.library.layers import ConvNormAct, DropPath, Shortcut
from archfront.space.library.operator.factored import FactoredConv
from archfront.space.spec import Factor, Gate, Operator, Paper, Positive, Probability, StridedBlock
from archfront.space.types import Feature


class NormedConv(nn.Sequential):
    """A convolution, batch norm, ReLU."""

    def __init__(self, conv: nn.Module, channels: int) -> None:
        super().__init__()
        self.conv = conv
        self.norm = nn.BatchNorm2d(channels)
        self.act = nn.ReLU()


class OmniScaleBlock(nn.Module):
    """1x1 reduction, streams in parallel, each through a gate, their sum, 1x1 expansion; a shortcut around them.

    Of the `gates`, the first serves all streams if it is the only one.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        hidden: int,
        streams: tuple[nn.Module, ...],
        gates: tuple[nn.Module, ...],
        stride: int = 1,
        instance_norm: str = "none",
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.reduce = ConvNormAct(in_channels, hidden, activation="relu")
        self.streams = nn.ModuleList(streams)
        self.gates = nn.ModuleList(gates)
        self.expand = nn.Conv2d(hidden, out_channels, 1, bias=False)
        inside, behind = instance_norm == "ain", instance_norm == "ibn"
        self.norm = nn.InstanceNorm2d(out_channels, affine=True) if inside else nn.BatchNorm2d(out_channels)
        self.drop_path = DropPath(drop_path)
        self.shortcut = Shortcut(in_channels, out_channels, stride)
        self.out_norm = nn.InstanceNorm2d(out_channels, affine=True) if behind else nn.Identity()
        self.act = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        reduced = self.reduce(x)
        parts = [stream(reduced) for stream in self.streams]
        gates = list(self.gates) * (len(parts) // len(self.gates))
        fused = sum(gate(part) for gate, part in zip(gates, parts, strict=True))
        y: Tensor = self.act(self.out_norm(self.shortcut(x) + self.drop_path(self.norm(self.expand(fused)))))
        return y


class OmniScale(StridedBlock):
    """ReLU(S x + BN(E sum_t gate(stream_t(ReLU(BN(R x)))))): R and E 1x1 convolutions, S the shortcut.

    Stream t = 1 ... `streams` is t times (operator, BN, ReLU): with 3x3 kernels its receptive field is 2 t + 1. One gate
    serves all streams, so that it compares them by their content. S is the identity or a 1x1 convolution with BN. A
    stride, which the paper's network leaves to pooling between its stages, stands in the first operator of each stream.

    Args:
        streams: number of streams.
        ratio: width inside the streams over output width.
        operator: a pointwise and a depthwise convolution in the paper.
        gate: squeeze-and-excitation in the paper; None adds the streams up as they are.
        gate_shared: whether one gate serves all streams, as in the paper, or each has its own.
        instance_norm: "ibn" adds instance norm before the last ReLU, "ain" puts it in place of the BN behind E.
        drop_path: probability of leaving out the residual branch of a sample in training.

    Zhou et al., 2019, Omni-Scale Feature Learning for Person Re-Identification; instance norm from Zhou et al., 2021,
    Learning Generalisable Omni-Scale Representations for Person Re-Identification.
    """

    paper: ClassVar[Paper] = Paper(
        title="Omni-Scale Feature Learning for Person Re-Identification",
        authors="Kaiyang Zhou, Yongxin Yang, Andrea Cavallaro, Tao Xiang",
        year=2019,
        key="osnet",
    )

    streams: Positive = 4
    ratio: Factor = 0.25
    operator: Operator = FactoredConv(order="pointwise-spatial")
    gate: Gate | None = SqueezeExcite(ratio=1 / 16)
    gate_shared: bool = True
    instance_norm: Literal["none", "ibn", "ain"] = "none"
    drop_path: Probability = 0.0

    def output(self, x: Feature) -> Feature:
        y = image(self, x).at(self.width, self.stride)
        hidden = scaled(y.channels, self.ratio)
        inner = resampled("operator", self.operator.at(hidden, self.stride), x.at(hidden))
        resampled("operator", self.operator.at(hidden, 1), inner)
        if self.gate is not None:
            kept("gate", self.gate, inner)
        if self.instance_norm != "none" and y.positions == 1:
            raise ShapeError('instance norm of a single position is 0; use a larger image or instance_norm "none"')
        return y

    def build(self, x: Feature) -> nn.Module:
        y = self.output(x)
        inner = y.at(scaled(y.channels, self.ratio))
        count = 1 if self.gate_shared or self.gate is None else self.streams
        return OmniScaleBlock(
            x.channels,
            y.channels,
            inner.channels,
            tuple(self._stream(x.at(inner.channels), inner, length) for length in range(1, self.streams + 1)),
            tuple(nn.Identity() if self.gate is None else self.gate.build(inner) for _ in range(count)),
            self.stride,
            self.instance_norm,
            self.drop_path,
        )

    def _stream(self, x: Feature, inner: Feature, length: int) -> nn.Module:
        width = inner.channels
        first = self.operator.at(width, self.stride).build(x)
        others = (self.operator.at(width, 1).build(inner) for _ in range(length - 1))
        return nn.Sequential(*(NormedConv(conv, width) for conv in (first, *others)))

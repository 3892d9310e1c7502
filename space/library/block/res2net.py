"""Residual bottleneck whose middle is a hierarchy of small convolutions."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from archfront.space.library.common import Activation, image, kept, resampled, scaled
from archfront.space.library.layers import ConvNormAct, DropPath, Shortcut, make_activation
from archfront.space.library.operator.conv import Conv
from archfront.space.spec import Factor, Gate, Operator, Paper, Positive, Probability, StridedBlock
from archfront.space.types import Feature


class OperatorNormAct(nn.Sequential):
    """A convolution, batch norm, activation."""

    def __init__(self, conv: nn.Module, channels: int, activation: str = "relu") -> None:
        super().__init__()
        self.conv = conv
        self.norm = nn.BatchNorm2d(channels)
        self.act = make_activation(activation)


class Hierarchy(nn.Module):
    """Splits the channels into `scale` chunks; each but the last is convolved, after the result before it is added.

    With `entry` nothing is added, and the last chunk, which otherwise passes, is averaged over 3x3 at `stride`.
    A single chunk (`scale=1`) is convolved.
    """

    def __init__(
        self,
        width: int,
        scale: int,
        convs: tuple[nn.Module, ...],
        stride: int = 1,
        entry: bool = False,
        activation: str = "relu",
    ) -> None:
        super().__init__()
        self.width = width
        self.scale = scale
        self.entry = entry
        self.branches = nn.ModuleList(OperatorNormAct(conv, width, activation) for conv in convs)
        self.pool = nn.AvgPool2d(3, stride, padding=1) if entry and scale > 1 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        chunks = torch.split(x, self.width, 1)
        outputs: list[Tensor] = []
        for chunk, branch in zip(chunks, self.branches, strict=False):
            alone = self.entry or not outputs
            outputs.append(branch(chunk if alone else chunk + outputs[-1]))
        if self.scale > 1:
            outputs.append(self.pool(chunks[-1]))
        return torch.cat(outputs, 1)


class Res2NetBottleneck(nn.Module):
    """1x1 reduction, a hierarchy of convolutions, 1x1 expansion, and a shortcut around them."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        hidden: int,
        hierarchy: Hierarchy,
        stride: int = 1,
        activation: str = "relu",
        gate: nn.Module | None = None,
        pool_shortcut: bool = False,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.fused_outputs = {"reduce": hierarchy.scale}
        self.fused_inputs = {"expand": hierarchy.scale}
        self.reduce = ConvNormAct(in_channels, hidden, activation=activation)
        self.hierarchy = hierarchy
        self.expand = ConvNormAct(hidden, out_channels)
        self.gate = nn.Identity() if gate is None else gate
        self.drop_path = DropPath(drop_path)
        self.shortcut = Shortcut(in_channels, out_channels, stride, pool_shortcut)
        self.act = make_activation(activation)

    def forward(self, x: Tensor) -> Tensor:
        branch = self.gate(self.expand(self.hierarchy(self.reduce(x))))
        y: Tensor = self.act(self.shortcut(x) + self.drop_path(branch))
        return y


class Res2Net(StridedBlock):
    """act(S x + gate(E H(act(R x)))): a bottleneck whose middle H convolves chunks of channels one after the other.

    R (1x1 to s w channels), E (1x1) and the convolutions K_i are followed by BN. H splits its input into chunks
    x_1 ... x_s of w channels and yields y_1 = K_1 x_1, y_i = K_i (x_i + y_{i-1}) for 1 < i < s, and y_s = x_s, with act
    after each K_i: s - 1 convolutions, the receptive field growing from chunk to chunk. Where the block changes width
    or stride, the K_i carry the stride, nothing is added (y_i = K_i x_i), and y_s is the mean of x_s over 3x3 (zeros
    outside counted). `scale=1` has one convolution and is a plain bottleneck of width w.

    w = floor(p * `base_width` / 64) * groups, at least 1, with p the nearest integer to `ratio` times the output width,
    and groups those of a grouped `Conv`: `base_width=4, operator=Conv(groups=8)` is Res2NeXt.

    Args:
        scale: s, the number of chunks.
        base_width: channels of a chunk where p is 64.
        ratio: p over output width.
        operator: the K_i, 3x3 convolutions in the paper; any operator that keeps w channels.
        activation: act.
        gate: acts on the residual branch before the addition.
        shortcut: how S changes the type where it must: "projection" strides, "average" averages tiles first (v1b/d).
        drop_path: probability of leaving out the residual branch of a sample in training.

    Gao et al., 2019, Res2Net: A New Multi-scale Backbone Architecture.
    """

    paper: ClassVar[Paper] = Paper(
        title="Res2Net: A New Multi-scale Backbone Architecture",
        authors="Shang-Hua Gao, Ming-Ming Cheng, Kai Zhao, Xin-Yu Zhang, Ming-Hsuan Yang, Philip Torr",
        year=2019,
        key="res2net",
    )

    scale: Positive = 4
    base_width: Positive = 26
    ratio: Factor = 0.25
    operator: Operator = Conv(kernel=3)
    activation: Activation = "relu"
    gate: Gate | None = None
    shortcut: Literal["projection", "average"] = "projection"
    drop_path: Probability = 0.0

    def chunk(self, channels: int) -> int:
        """w for `channels` output channels."""
        groups = self.operator.groups if isinstance(self.operator, Conv) else 1
        return max(1, scaled(channels, self.ratio) * self.base_width // 64) * groups

    def output(self, x: Feature) -> Feature:
        y = image(self, x).at(self.width, self.stride)
        width = self.chunk(y.channels)
        resampled("operator", self.operator.at(width, self.stride), x.at(width))
        return y if self.gate is None else kept("gate", self.gate, y)

    def build(self, x: Feature) -> nn.Module:
        y = self.output(x)
        width = self.chunk(y.channels)
        operator = self.operator.at(width, self.stride)
        convs = tuple(operator.build(x.at(width)) for _ in range(max(1, self.scale - 1)))
        return Res2NetBottleneck(
            x.channels,
            y.channels,
            width * self.scale,
            Hierarchy(width, self.scale, convs, self.stride, entry=x != y, activation=self.activation),
            self.stride,
            self.activation,
            None if self.gate is None else self.gate.build(y),
            self.shortcut == "average",
            self.drop_path,
        )

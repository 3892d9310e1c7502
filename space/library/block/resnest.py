"""Residual bottleneck around a split-attention convolution."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from torch import Tensor, nn

from archfront.space.library.common import image, kept, resampled, scaled
from archfront.space.library.layers import ConvNormAct, DropPath, Shortcut
from archfront.space.library.operator.conv import Conv
from archfront.space.library.operator.split_attention import SplitAttention
from archfront.space.spec import Factor, Gate, Odd, Operator, Paper, Positive, Probability, Rule, StridedBlock
from archfront.space.types import Feature


class ResNeStBottleneck(nn.Module):
    """1x1 reduction, a convolution that may be pooled before or after, 1x1 expansion, and a shortcut around them.

    `normalise` puts batch norm and ReLU behind a convolution that does not end in them by itself.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        hidden: int,
        conv: nn.Module,
        stride: int = 1,
        pool: str = "after",
        normalise: bool = False,
        gate: nn.Module | None = None,
        pool_shortcut: bool = True,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.reduce = ConvNormAct(in_channels, hidden, activation="relu")
        self.pool_before = nn.AvgPool2d(3, stride, padding=1) if pool == "before" and stride > 1 else nn.Identity()
        self.conv = conv
        self.norm = nn.BatchNorm2d(hidden) if normalise else nn.Identity()
        self.act1 = nn.ReLU() if normalise else nn.Identity()
        self.pool_after = nn.AvgPool2d(3, stride, padding=1) if pool == "after" and stride > 1 else nn.Identity()
        self.expand = ConvNormAct(hidden, out_channels)
        self.gate = nn.Identity() if gate is None else gate
        self.drop_path = DropPath(drop_path)
        self.shortcut = Shortcut(in_channels, out_channels, stride, pool_shortcut)
        self.act2 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        branch = self.conv(self.pool_before(self.reduce(x)))
        branch = self.expand(self.pool_after(self.act1(self.norm(branch))))
        y: Tensor = self.act2(self.shortcut(x) + self.drop_path(self.gate(branch)))
        return y


class ResNeSt(StridedBlock):
    """relu(S x + gate(E K relu(R x))): a bottleneck whose middle K is a split-attention convolution.

    R and E are 1x1 convolutions with BN. The hidden width is floor(p * `base_width` / 64) * `cardinality` with p the
    nearest integer to `ratio` times the output width, at least `cardinality`. The stride is that of a 3x3 average
    pooling (zeros outside counted) after or before K, or K's own. With `radix=0` K is a grouped convolution with BN and ReLU.

    Args:
        radix: number of splits of K that attention recombines.
        cardinality: number of groups of K.
        base_width: channels of a group where p is 64.
        pool: where the stride is taken: "after" K (the standard), "before" it (the fast variant), "none" for K itself.
        reduction: width of all splits over the inner width of the attention.
        kernel: extent of K.
        ratio: p over output width.
        gate: acts on the residual branch before the addition.
        shortcut: how S changes the type where it must: "average" averages tiles first, "projection" strides.
        drop_path: probability of leaving out the residual branch of a sample in training.

    Zhang et al., 2020, ResNeSt: Split-Attention Networks.
    """

    paper: ClassVar[Paper] = SplitAttention.paper

    radix: Annotated[int, Rule("0, 1, 2 or 4", lambda v: v in (0, 1, 2, 4))] = 2
    cardinality: Positive = 1
    base_width: Positive = 64
    pool: Literal["none", "after", "before"] = "after"
    reduction: Positive = 4
    kernel: Odd = 3
    ratio: Factor = 0.25
    gate: Gate | None = None
    shortcut: Literal["projection", "average"] = "average"
    drop_path: Probability = 0.0

    def hidden(self, channels: int) -> int:
        """The hidden width for `channels` output channels."""
        return max(1, scaled(channels, self.ratio) * self.base_width // 64) * self.cardinality

    def operator(self, hidden: int) -> Operator:
        """K at its width and stride."""
        stride = self.stride if self.pool == "none" else 1
        if self.radix == 0:
            return Conv(kernel=self.kernel, groups=self.cardinality, width=hidden, stride=stride)
        return SplitAttention(
            kernel=self.kernel,
            radix=self.radix,
            cardinality=self.cardinality,
            reduction=self.reduction,
            width=hidden,
            stride=stride,
        )

    def output(self, x: Feature) -> Feature:
        y = image(self, x).at(self.width, self.stride)
        hidden = self.hidden(y.channels)
        resampled("operator", self.operator(hidden), x.at(hidden))
        return y if self.gate is None else kept("gate", self.gate, y)

    def build(self, x: Feature) -> nn.Module:
        y = self.output(x)
        hidden = self.hidden(y.channels)
        return ResNeStBottleneck(
            x.channels,
            y.channels,
            hidden,
            self.operator(hidden).build(x.at(hidden)),
            self.stride,
            self.pool,
            self.radix == 0,
            None if self.gate is None else self.gate.build(y),
            self.shortcut == "average",
            self.drop_path,
        )

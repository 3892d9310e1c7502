"""Squeeze-and-excitation."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor, nn

from archfront.space.library.common import Activation
from archfront.space.library.layers import make_activation
from archfront.space.spec import Factor, Gate, Paper, Positive
from archfront.space.types import Feature


class SqueezeExcitation(nn.Module):
    """Scales every channel by a weight computed from the means (or maxima) of all channels.

    `hidden=None` computes the weights with one layer instead of two.
    """

    def __init__(
        self,
        channels: int,
        hidden: int | None,
        activation: str = "relu",
        gate: str = "sigmoid",
        squeeze: str = "average",
    ) -> None:
        super().__init__()
        self.squeeze = squeeze
        self.reduce = nn.Linear(channels, hidden) if hidden else nn.Identity()
        self.act = make_activation(activation) if hidden else nn.Identity()
        self.expand = nn.Linear(hidden or channels, channels)
        self.gate = make_activation(gate)

    def forward(self, x: Tensor) -> Tensor:
        weights: Tensor = self.gate(self.expand(self.act(self.reduce(self.summary(x)))))
        return x * weights.reshape(*weights.shape, *[1] * (x.ndim - 2))

    def summary(self, x: Tensor) -> Tensor:
        """One number a channel: (N, C, ...) to (N, C)."""
        positions = tuple(range(2, x.ndim))
        if self.squeeze == "average":
            return x.mean(positions)
        if self.squeeze == "max":
            return x.amax(positions)
        return x.mean(positions) + x.amax(positions)


class SqueezeExcite(Gate):
    """x * gate(W2 act(W1 z + b1) + b2), z the mean of every channel over all positions, W1: C -> R, W2: R -> C.

    R is `ratio * C` to the nearest multiple of `divisor`, at least one; with a divisor above 1 the next multiple where
    that loses more than a tenth. In an inverted residual the gate sees the expanded width: a quarter of the block's
    input, as in EfficientNet, is `ratio=0.25 / expand`. Where the gate stands is up to the block: `Bottleneck`
    offers all places of the paper. Takes any number of dimensions.

    Args:
        ratio: inner width over width; 1/16 in the paper. None takes a single layer C -> C, with `gate="hardsigmoid"` the
            effective squeeze-and-excitation of Lee and Park, 2020, CenterMask: Real-Time Anchor-Free Instance
            Segmentation.
        activation: act, ReLU in the paper.
        gate: function that makes the weights; "hardsigmoid" in MobileNetV3.
        squeeze: what z is: the mean, the maximum, or their sum.
        divisor: R is a multiple of it; 8 in MobileNetV3, 4 in GhostNet.

    Hu et al., 2018, Squeeze-and-Excitation Networks.
    """

    paper: ClassVar[Paper] = Paper(
        title="Squeeze-and-Excitation Networks",
        authors="Jie Hu, Li Shen, Samuel Albanie, Gang Sun, Enhua Wu",
        year=2018,
        key="squeeze_excitation",
    )

    ratio: Factor | None = 0.25
    activation: Activation = "relu"
    gate: Literal["sigmoid", "hardsigmoid"] = "sigmoid"
    squeeze: Literal["average", "max", "average+max"] = "average"
    divisor: Positive = 1

    def build(self, x: Feature) -> nn.Module:
        hidden = None if self.ratio is None else multiple(self.ratio * x.channels, self.divisor)
        return SqueezeExcitation(x.channels, hidden, self.activation, self.gate, self.squeeze)


def multiple(width: float, divisor: int) -> int:
    """The multiple of `divisor` nearest to `width`, at least one; for divisors above 1 never below 90 % of `width`."""
    nearest = divisor * max(1, int(width / divisor + 0.5))
    return nearest + divisor if divisor > 1 and nearest < 0.9 * width else nearest

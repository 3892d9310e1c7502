"""Pre-activation residual block of separable convolutions."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor, nn

from archfront.space.library.common import Activation, image, kept, resampled
from archfront.space.library.layers import DropPath, Shortcut, make_activation
from archfront.space.library.operator.factored import FactoredConv
from archfront.space.spec import Gate, Operator, Paper, Positive, Probability, StridedBlock
from archfront.space.types import Feature


class ActConvNorm(nn.Sequential):
    """Activation, convolution, batch norm."""

    def __init__(self, conv: nn.Module, channels: int, activation: str = "relu") -> None:
        super().__init__()
        self.act = make_activation(activation)
        self.conv = conv
        self.norm = nn.BatchNorm2d(channels)


class XceptionModule(nn.Module):
    """Activation, convolution, batch norm, several times; then max-pooling where it strides; a shortcut around all."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        convs: tuple[nn.Module, ...],
        widths: tuple[int, ...],
        stride: int = 1,
        activation: str = "relu",
        leading_activation: bool = True,
        pool: bool = True,
        gate: nn.Module | None = None,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        names = ("none" if i == 0 and not leading_activation else activation for i in range(len(convs)))
        self.layers = nn.Sequential(
            *(ActConvNorm(conv, width, name) for conv, width, name in zip(convs, widths, names, strict=True))
        )
        self.pool = nn.MaxPool2d(3, stride, padding=1) if pool and stride > 1 else nn.Identity()
        self.gate = nn.Identity() if gate is None else gate
        self.drop_path = DropPath(drop_path)
        self.shortcut = Shortcut(in_channels, out_channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.shortcut(x) + self.drop_path(self.gate(self.pool(self.layers(x))))
        return y


class XceptionBlock(StridedBlock):
    """S x + gate(pool(BN(K_n act(... BN(K_1 act(x)))))): n = `reps` separable convolutions behind activations.

    S is the identity, or where the type changes a 1x1 convolution with BN; nothing follows the addition.

    Args:
        reps: number of convolutions.
        grow: which of them changes the width, 1 for the first; numbers above `reps` mean the last.
        operator: the K_i.
        activation: act.
        leading_activation: whether act stands in front of K_1; not in the block behind an activated stem.
        downsample: what takes the stride: a 3x3 max-pooling behind the last convolution, or this convolution itself
            (the aligned variant for dense tasks).
        gate: acts on the residual branch before the addition.
        drop_path: probability of leaving out the residual branch of a sample in training.

    Chollet, 2017, Xception: Deep Learning with Depthwise Separable Convolutions; aligned as in Chen et al., 2018,
    Encoder-Decoder with Atrous Separable Convolution for Semantic Image Segmentation.
    """

    paper: ClassVar[Paper] = FactoredConv.paper

    reps: Positive = 3
    grow: Positive = 1
    operator: Operator = FactoredConv()
    activation: Activation = "relu"
    leading_activation: bool = True
    downsample: Literal["pool", "operator"] = "pool"
    gate: Gate | None = None
    drop_path: Probability = 0.0

    def _operators(self, x: Feature) -> list[tuple[Operator, Feature]]:
        """The convolutions in order with what each is fed."""
        found, width = [], self.width or x.channels
        for i in range(self.reps):
            stride = self.stride if self.downsample == "operator" and i == self.reps - 1 else 1
            operator = self.operator.at(width if i >= min(self.grow, self.reps) - 1 else x.channels, stride)
            found.append((operator, x))
            x = resampled("operator", operator, x)
        return found

    def output(self, x: Feature) -> Feature:
        y = image(self, x).at(self.width, self.stride)
        self._operators(x)
        return y if self.gate is None else kept("gate", self.gate, y)

    def build(self, x: Feature) -> nn.Module:
        y = self.output(x)
        operators = self._operators(x)
        return XceptionModule(
            x.channels,
            y.channels,
            tuple(operator.build(fed) for operator, fed in operators),
            tuple(operator.output(fed).channels for operator, fed in operators),
            self.stride,
            self.activation,
            self.leading_activation,
            self.downsample == "pool",
            None if self.gate is None else self.gate.build(y),
            self.drop_path,
        )

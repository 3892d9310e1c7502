"""Pre-activation residual block, wide or not."""

from __future__ import annotations

from typing import Annotated, ClassVar

from torch import Tensor, nn

from archfront.space.library.common import Activation, image, kept
from archfront.space.library.layers import DropPath, make_activation
from archfront.space.spec import Gate, Odd, Paper, Probability, Rule, StridedBlock
from archfront.space.types import Feature


class PreActivationConv(nn.Sequential):
    """Batch norm, activation, dropout, convolution."""

    def __init__(self, channels: int, kernel: int, activation: str = "relu", dropout: float = 0.0) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)
        self.act = make_activation(activation)
        self.dropout = nn.Dropout(dropout)
        self.conv = nn.Conv2d(channels, channels, kernel, padding=kernel // 2, bias=False)


class PreActivationBlock(nn.Module):
    """Convolutions, each behind batch norm and activation, and a shortcut around them."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernels: tuple[int, ...] = (3, 3),
        stride: int = 1,
        activation: str = "relu",
        dropout: float = 0.0,
        gate: nn.Module | None = None,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        first, *others = kernels
        self.norm = nn.BatchNorm2d(in_channels)
        self.act = make_activation(activation)
        self.conv = nn.Conv2d(in_channels, out_channels, first, stride, padding=first // 2, bias=False)
        self.others = nn.Sequential(*(PreActivationConv(out_channels, k, activation, dropout) for k in others))
        self.gate = nn.Identity() if gate is None else gate
        self.drop_path = DropPath(drop_path)
        changes = stride != 1 or in_channels != out_channels
        self.project = nn.Conv2d(in_channels, out_channels, 1, stride, bias=False) if changes else None

    def forward(self, x: Tensor) -> Tensor:
        active = self.act(self.norm(x))
        shortcut = x if self.project is None else self.project(active)
        y: Tensor = shortcut + self.drop_path(self.gate(self.others(self.conv(active))))
        return y


class WideBasic(StridedBlock):
    """S + gate(K_n act(BN(... dropout(act(BN(K_1 a)))))) with a = act(BN(x)); K_1 carries the stride.

    S is x, or where the type changes a 1x1 convolution of a without norm. With two 3x3 kernels it is B(3, 3), the block
    of the wide residual networks; their widths stand in the stages. Nothing follows the addition, so the head has to
    begin with the last BN and activation: `Classifier(classes=10, norm="batch", activation="relu")`.

    Args:
        kernels: extent of every convolution, such as (3, 3), (3, 1, 3) or (1, 3, 1).
        activation: act.
        dropout: probability of zeroing an entry between two convolutions in training.
        gate: acts on the residual branch before the addition.
        drop_path: probability of leaving out the residual branch of a sample in training.

    Zagoruyko and Komodakis, 2016, Wide Residual Networks.
    """

    paper: ClassVar[Paper] = Paper(
        title="Wide Residual Networks", authors="Sergey Zagoruyko, Nikos Komodakis", year=2016, key="wide_resnet"
    )

    kernels: Annotated[tuple[Odd, ...], Rule("a tuple of at least one positive odd integer", len)] = (3, 3)
    activation: Activation = "relu"
    dropout: Probability = 0.0
    gate: Gate | None = None
    drop_path: Probability = 0.0

    def output(self, x: Feature) -> Feature:
        y = image(self, x).at(self.width, self.stride)
        return y if self.gate is None else kept("gate", self.gate, y)

    def build(self, x: Feature) -> nn.Module:
        y = self.output(x)
        return PreActivationBlock(
            x.channels,
            y.channels,
            self.kernels,
            self.stride,
            self.activation,
            self.dropout,
            None if self.gate is None else self.gate.build(y),
            self.drop_path,
        )

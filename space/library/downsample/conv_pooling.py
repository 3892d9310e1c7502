"""Convolution, then overlapping pooling between stages."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import nn

from archfront.space.library.common import image
from archfront.space.library.layers import make_norm
from archfront.space.spec import Downsample, Odd, Paper
from archfront.space.types import Feature


class ConvMaxPool(nn.Sequential):
    """Convolution with bias, normalisation, the maximum over windows of 3x3 positions; `padding` at the top and left."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int = 3,
        stride: int = 2,
        padding: tuple[int, int] = (0, 0),
        norm: str = "layer",
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2)
        self.norm = make_norm(norm, out_channels)
        self.pool = nn.MaxPool2d(3, stride, padding, ceil_mode=True)


class ConvPoolDownsample(Downsample):
    """maxpool(norm(W * x + b)): windows of 3x3 positions, `stride` apart; sizes become ceil(n / stride).

    The convolution sees the whole map: between the levels of NesT it is what blocks of attention communicate by. The
    padding is as even as can be, and where it cannot be, nothing stands at the top and left ("same" padding of the
    authors' framework): pooling windows of an even map begin with its first position.

    Args:
        kernel: extent of W.
        norm: the normalisation.

    Zhang et al., 2022, Nested Hierarchical Transformer: Towards Accurate, Data-Efficient and Interpretable Visual
    Understanding.
    """

    paper: ClassVar[Paper] = Paper(
        title="Nested Hierarchical Transformer: Towards Accurate, Data-Efficient and Interpretable Visual Understanding",
        authors="Zizhao Zhang, Han Zhang, Long Zhao, Ting Chen, Sercan Ö. Arık, Tomas Pfister",
        year=2022,
        key="nest",
    )

    kernel: Odd = 3
    norm: Literal["batch", "layer", "group1", "none"] = "layer"

    def output(self, x: Feature) -> Feature:
        return image(self, x).at(self.width, self.stride)

    def build(self, x: Feature) -> nn.Module:
        y = self.output(x)
        top, left = (max(0, (out - 1) * self.stride + 3 - n) // 2 for n, out in zip(x.size, y.size, strict=True))
        return ConvMaxPool(x.channels, y.channels, self.kernel, self.stride, (top, left), self.norm)

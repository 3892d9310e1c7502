"""Spatial bottleneck: a projection between a strided and a transposed depthwise convolution."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from archfront.space.library.common import image
from archfront.space.library.operator.topological import TopologicalConv
from archfront.space.spec import Odd, Operator, Paper, Positive
from archfront.space.types import Feature


class SpatialBottleneckConv(nn.Module):
    """Depthwise convolution down by `reduction`, 1x1 convolution, transposed depthwise convolution up again.

    With a stride the way down is longer than the way up.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int = 3,
        reduction: int = 2,
        stride: int = 1,
        residual: bool = True,
    ) -> None:
        super().__init__()
        self.stride = stride
        self.residual = residual and stride == 1 and in_channels == out_channels
        down, pad = reduction * stride, kernel // 2
        self.down = nn.Conv2d(in_channels, in_channels, kernel, down, pad, groups=in_channels, bias=False)
        self.project = nn.Conv2d(in_channels, out_channels, 1, bias=False)
        self.up = nn.ConvTranspose2d(
            out_channels, out_channels, kernel, reduction, pad, reduction - 1, groups=out_channels, bias=False
        )

    def forward(self, x: Tensor) -> Tensor:
        # rounded up by quotients of positive numbers: exported graphs round towards zero
        rows, columns = ((n + self.stride - 1) // self.stride for n in x.shape[2:])
        y: Tensor = self.up(self.project(self.down(x)))[:, :, :rows, :columns]
        return x + y if self.residual else y


class SpatialBottleneck(Operator):
    """y = [x +] U (P (D * x)): D depthwise with stride `reduction`, P a 1x1 convolution, U D's transposed counterpart.

    P works on `reduction`^2 times fewer positions. U restores sizes that `reduction` does not divide, too. None of the
    three has a bias. x is added where stride is 1 and the width stays.

    Args:
        kernel: extent of D and U.
        reduction: stride of D and U.
        residual: whether x is added.

    Wang, Liu and Foroosh, 2016, Design of Efficient Convolutional Layers using Single Intra-channel Convolution,
    Topological Subdivisioning and Spatial "Bottleneck" Structure.
    """

    paper: ClassVar[Paper] = TopologicalConv.paper

    kernel: Odd = 3
    reduction: Positive = 2
    residual: bool = True

    def output(self, x: Feature) -> Feature:
        return image(self, x).at(self.width, self.stride)

    def build(self, x: Feature) -> nn.Module:
        width = self.output(x).channels
        return SpatialBottleneckConv(x.channels, width, self.kernel, self.reduction, self.stride, self.residual)

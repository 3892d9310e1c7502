"""Single intra-channel convolution: one filter a channel with a shortcut around it, then a projection."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor, nn

from archfront.space.library.common import image
from archfront.space.library.layers import make_activation, make_norm
from archfront.space.library.operator.topological import TopologicalConv, TopologicalConv2d, reach, torus
from archfront.space.spec import Factor, Odd, Operator, Paper, Positive
from archfront.space.types import Feature


class IntraChannelLayer(nn.Module):
    """A depthwise convolution with an identity shortcut, a projection, and on request BN and ReLU."""

    def __init__(
        self,
        channels: int,
        project: nn.Module,
        out_channels: int,
        kernel: int = 3,
        stride: int = 1,
        residual: bool = True,
        last: bool = True,
    ) -> None:
        super().__init__()
        self.residual = residual and stride == 1
        self.depthwise = nn.Conv2d(channels, channels, kernel, stride, kernel // 2, groups=channels, bias=False)
        self.project = project
        self.norm = make_norm("none" if last else "batch", out_channels)
        self.act = make_activation("none" if last else "relu")

    def forward(self, x: Tensor) -> Tensor:
        z = self.depthwise(x)
        y: Tensor = self.act(self.norm(self.project(x + z if self.residual else z)))
        return y


class SingleIntraChannel(Operator):
    """y = P (x + D * x), D a depthwise convolution, P a 1x1 convolution, both without bias; `repeats` times.

    BN and ReLU stand between the repetitions; those behind the last one are the host's. The first repetition changes
    the width, and the stride, and then without its shortcut.

    Args:
        kernel: extent of D.
        repeats: layers in a row.
        residual: the shortcut around D; without it a layer is a depthwise separable convolution.
        dims: P is a `TopologicalConv` on a torus of so many dimensions; None makes it dense.
        fraction: of the channels that a topological P sees.
        execute: how a topological P is computed, as in `TopologicalConv`.

    Wang, Liu and Foroosh, 2016, Design of Efficient Convolutional Layers using Single Intra-channel Convolution,
    Topological Subdivisioning and Spatial "Bottleneck" Structure.
    """

    paper: ClassVar[Paper] = TopologicalConv.paper

    kernel: Odd = 3
    repeats: Positive = 1
    residual: bool = True
    dims: Positive | None = None
    fraction: Factor = 0.25
    execute: Literal["dense", "gather"] = "dense"

    def output(self, x: Feature) -> Feature:
        return image(self, x).at(self.width, self.stride)

    def build(self, x: Feature) -> nn.Module:
        width = self.output(x).channels
        layers = []
        for index in range(self.repeats):
            channels, stride = (width, 1) if index else (x.channels, self.stride)
            last = index == self.repeats - 1
            project = self._projection(channels, width)
            layers.append(IntraChannelLayer(channels, project, width, self.kernel, stride, self.residual, last))
        return nn.Sequential(*layers)

    def _projection(self, channels: int, width: int) -> nn.Module:
        if self.dims is None:
            return nn.Conv2d(channels, width, 1, bias=False)
        grid = torus(channels, self.dims)
        return TopologicalConv2d(channels, width, grid, reach(grid, self.fraction), dense=self.execute == "dense")

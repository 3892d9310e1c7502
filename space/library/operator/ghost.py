"""Ghost module: part of the channels by a convolution, the others by cheap operations on those."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from archfront.space.library.common import Finished, image
from archfront.space.library.layers import ConvNormAct
from archfront.space.spec import Odd, Operator, Paper, Positive
from archfront.space.types import Feature


class GhostModule(nn.Module):
    """A convolution yields the intrinsic channels, a depthwise one `ratio - 1` ghosts of each; cut to `out_channels`.

    Every intrinsic channel stands in front of its ghosts, so that the first channels of a wide module are those of a
    narrow one.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int = 1,
        stride: int = 1,
        ratio: int = 2,
        cheap_kernel: int = 3,
        activation: str = "relu",
    ) -> None:
        super().__init__()
        self.out_channels = out_channels
        intrinsic = -(-out_channels // ratio)
        ghosts = intrinsic * (ratio - 1)
        self.primary = ConvNormAct(in_channels, intrinsic, kernel, stride, activation=activation)
        self.cheap = (
            ConvNormAct(intrinsic, ghosts, cheap_kernel, groups=intrinsic, activation=activation) if ghosts else None
        )

    def forward(self, x: Tensor) -> Tensor:
        intrinsic: Tensor = self.primary(x)
        if self.cheap is None:
            return intrinsic
        ghosts = self.cheap(intrinsic).unflatten(1, (intrinsic.shape[1], -1))
        return torch.cat((intrinsic[:, :, None], ghosts), 2).flatten(1, 2)[:, : self.out_channels]


class GhostConv(Operator, Finished):
    """y = [p_1, d_1 * p_1, p_2, ...] cut to the width, p = act(BN(W * x)) with ceil(width / ratio) channels, d * p ghosts.

    W is a convolution that carries the stride; d is depthwise, makes `ratio - 1` channels of each of p, and is followed
    by BN and act as well. With `ratio` 1 there are no ghosts, and y is p. The authors lay all of p in front of the
    ghosts, the same map with permuted channels; here a narrower module computes the first channels of a wider one.
    Stands in for any convolution: the theoretical cost falls by about `ratio`, latency often less.

    Args:
        kernel: extent of W; 1 in GhostNet, 3 in ghost versions of VGG and ResNet.
        ratio: width over the channels of p.
        cheap_kernel: extent of d.
        activation: act.

    Han et al., 2020, GhostNet: More Features from Cheap Operations.
    """

    paper: ClassVar[Paper] = Paper(
        title="GhostNet: More Features from Cheap Operations",
        authors="Kai Han, Yunhe Wang, Qi Tian, Jianyuan Guo, Chunjing Xu, Chang Xu",
        year=2020,
        key="ghostnet",
    )

    kernel: Odd = 1
    ratio: Positive = 2
    cheap_kernel: Odd = 3
    activation: Literal["none", "relu", "relu6", "silu", "gelu", "hardswish"] = "relu"

    def output(self, x: Feature) -> Feature:
        return image(self, x).at(self.width, self.stride)

    def build(self, x: Feature) -> nn.Module:
        return GhostModule(
            x.channels,
            self.output(x).channels,
            self.kernel,
            self.stride,
            self.ratio,
            self.cheap_kernel,
            self.activation,
        )

"""Depthwise convolution with kernels longer than the map, gated by the input."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch.nn.functional as F
from torch import Tensor, nn

from archfront.space.library.common import image, scaled
from archfront.space.spec import Factor, Mixer, Odd, Paper
from archfront.space.types import Feature


def kernel_length(extent: str, size: int) -> int:
    """The odd length of a kernel along a direction of `size` positions: 2 size - 1, size or size - 1.

    An even size goes up to the next odd length, an even size - 1 down.
    """
    return {"2map-1": 2 * size - 1, "map": size | 1, "map-1": max(1, size - 2 | 1)}[extent]


class OversizedDepthwise(nn.Module):
    """A depthwise (K, 1) convolution and then a (1, L) one, K and L chosen for maps of `size`, zeros outside.

    With `interpolate` the kernels are resampled for maps of another size, else their outer taps are cut or unused.
    """

    def __init__(self, channels: int, size: tuple[int, int], extent: str = "2map-1", interpolate: bool = False) -> None:
        super().__init__()
        self.extent = extent
        self.interpolate = interpolate
        tall, wide = kernel_length(extent, size[0]), kernel_length(extent, size[1])
        self.vertical = nn.Conv2d(channels, channels, (tall, 1), padding=(tall // 2, 0), groups=channels, bias=False)
        self.horizontal = nn.Conv2d(channels, channels, (1, wide), padding=(0, wide // 2), groups=channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        if not self.interpolate:
            y: Tensor = self.horizontal(self.vertical(x))
            return y
        tall, wide = kernel_length(self.extent, x.shape[2]), kernel_length(self.extent, x.shape[3])
        x = F.conv2d(x, resampled_kernel(self.vertical.weight, (tall, 1)), padding=(tall // 2, 0), groups=x.shape[1])
        return F.conv2d(
            x, resampled_kernel(self.horizontal.weight, (1, wide)), padding=(0, wide // 2), groups=x.shape[1]
        )


def resampled_kernel(weight: Tensor, size: tuple[int, int]) -> Tensor:
    """Kernels interpolated linearly to `size`, their end points kept."""
    if weight.shape[2:] == size:
        return weight
    return F.interpolate(weight, size, mode="bilinear", align_corners=True)


class OversizedGatedConvolution(nn.Module):
    """Values times the sum of a global and a local depthwise convolution of the activated other half."""

    def __init__(
        self,
        channels: int,
        hidden: int,
        size: tuple[int, int],
        extent: str = "2map-1",
        kernel: int = 7,
        gate: str = "bifurcate",
        interpolate: bool = False,
    ) -> None:
        super().__init__()
        self.gate = gate
        halves = 1 if gate == "none" else 2
        self.fused_outputs = {"project_in": halves}
        self.project_in = nn.Conv2d(channels, halves * hidden, 1)
        self.act = nn.GELU()
        self.wide = OversizedDepthwise(hidden, size, extent, interpolate)
        self.near = nn.Conv2d(hidden, hidden, kernel, padding=kernel // 2, groups=hidden, bias=False)
        self.project_out = nn.Conv2d(hidden, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        if self.gate == "none":
            y = self.convolved(self.project_in(x))
        else:
            values, context = self.project_in(x).chunk(2, 1)
            weights = self.convolved(context)
            y = values * (weights.sigmoid() if self.gate == "sigmoid" else weights)
        out: Tensor = self.project_out(y)
        return out

    def convolved(self, x: Tensor) -> Tensor:
        """The global and the local convolution of the activated input, added up."""
        x = self.act(x)
        y: Tensor = self.wide(x) + self.near(x)
        return y


class OversizedConv(Mixer):
    """W (v * (G gelu(u) + L gelu(u))): G two depthwise kernels as long as twice the map, (K, 1) then (1, K), L a local one.

    v and u come from one linear map C -> 2 C' with bias, C' = `expand` C (rounded); G, L and W have no bias. With
    K = 2 S - 1 on S positions every output position reads all of them through taps of its own, so that G is a full
    Toeplitz matrix along each direction, and the zeros outside the map tell it positions.

    Args:
        extent: K for S positions: 2 S - 1, S or S - 1, made odd (an even S to S + 1, an even S - 1 to S - 2).
        kernel: extent of L.
        expand: C' over C; the paper counts both halves, 2 in its words.
        gate: "bifurcate" as above; "sigmoid" takes the sigmoid of the factor of v; "none" leaves v out.
        interpolate: resample G for maps of other sizes than it was built for; else its length stays.

    Xu et al., 2023, ParCNetV2: Oversized Kernel with Enhanced Attention.
    """

    paper: ClassVar[Paper] = Paper(
        title="ParCNetV2: Oversized Kernel with Enhanced Attention",
        authors="Ruihan Xu, Haokui Zhang, Wenze Hu, Shiliang Zhang, Xiaoyu Wang",
        year=2023,
        key="parcnetv2",
    )

    extent: Literal["2map-1", "map", "map-1"] = "2map-1"
    kernel: Odd = 7
    expand: Factor = 1.0
    gate: Literal["bifurcate", "sigmoid", "none"] = "bifurcate"
    interpolate: bool = False

    def output(self, x: Feature) -> Feature:
        return image(self, x)

    def build(self, x: Feature) -> nn.Module:
        height, width = image(self, x).size
        hidden = scaled(x.channels, self.expand)
        return OversizedGatedConvolution(
            x.channels, hidden, (height, width), self.extent, self.kernel, self.gate, self.interpolate
        )

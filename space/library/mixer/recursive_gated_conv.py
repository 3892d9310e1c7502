"""Recursive gated convolution: spatial interactions of high order by gating again and again."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archfront.space.errors import ShapeError
from archfront.space.library.common import image, listed
from archfront.space.library.layers import LayerNorm2d
from archfront.space.spec import Factor, Mixer, Odd, Paper, Positive
from archfront.space.types import Feature


class GlobalLocalFilter(nn.Module):
    """A depthwise 3x3 convolution of the first half of the channels, a learnt filter of the spectrum of the other half.

    The halves are interleaved channel by channel. The filter fits maps of `size` and is resized for other ones.
    """

    def __init__(self, channels: int, size: tuple[int, int]) -> None:
        super().__init__()
        half = channels // 2
        self.norm1 = LayerNorm2d(channels)
        self.local = nn.Conv2d(half, half, 3, padding=1, groups=half, bias=False)
        self.weight = nn.Parameter(torch.empty(half, 2, size[0], size[1] // 2 + 1))
        nn.init.trunc_normal_(self.weight, std=0.02)
        self.norm2 = LayerNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        near, far = self.norm1(x).chunk(2, 1)
        y: Tensor = self.norm2(torch.stack((self.local(near), self.filtered(far)), 2).flatten(1, 2))
        return y

    def filtered(self, x: Tensor) -> Tensor:
        """x with its spectrum times the weights, whose second dimension holds the real and the imaginary part."""
        spectrum = torch.fft.rfft2(x, norm="ortho")
        weight: Tensor = self.weight
        if weight.shape[2:] != spectrum.shape[2:]:
            weight = F.interpolate(weight, spectrum.shape[2:], mode="bilinear", align_corners=True)
        scaled = spectrum * torch.complex(weight[:, 0], weight[:, 1])
        y: Tensor = torch.fft.irfft2(scaled, s=x.shape[2:], norm="ortho")
        return y


class Rises(nn.ModuleList):
    """1x1 convolutions that double the width: number k leads from channels / 2^(k + 1) to channels / 2^k."""

    def __init__(self, channels: int, order: int) -> None:
        super().__init__(nn.Conv2d(channels >> k + 1, channels >> k, 1) for k in range(order - 1))
        self.fused_outputs = {str(k): 2 ** (order - 1 - k) for k in range(order - 1)}
        self.fused_inputs = {str(k): 2 ** (order - 2 - k) for k in range(order - 1)}


class RecursiveGatedConvolution(nn.Module):
    """Gates of widths C / 2^(order - 1), ..., C / 2, C, each multiplied with the projected product of those before it.

    All widths are multiples of the smallest one, and the layers declare so many segments: at half of C every gate
    keeps the first half of its own channels.
    """

    def __init__(
        self, channels: int, order: int = 3, kernel: int = 7, scale: float = 1 / 3, size: tuple[int, int] | None = None
    ) -> None:
        super().__init__()
        self.scale = scale
        self.widths = [channels >> k for k in reversed(range(order))]
        gates = sum(self.widths)
        self.project_in = nn.Conv2d(channels, 2 * channels, 1)
        self.spatial = (
            nn.Conv2d(gates, gates, kernel, padding=kernel // 2, groups=gates)
            if size is None
            else GlobalLocalFilter(gates, size)
        )
        self.rises = Rises(channels, order)
        self.project_out = nn.Conv2d(channels, channels, 1)
        self.fused_outputs = {"project_in": 2**order} | ({"spatial": 2**order - 1} if size is None else {})
        self.fused_inputs = {"project_out": 2 ** (order - 1)}

    def forward(self, x: Tensor) -> Tensor:
        y, gates = self.project_in(x).split((self.widths[0], sum(self.widths)), 1)
        first, *others = (self.scale * self.spatial(gates)).split(self.widths, 1)
        y = y * first
        for rise, gate in zip(reversed(self.rises), others, strict=True):
            y = rise(y) * gate
        out: Tensor = self.project_out(y)
        return out


class RecursiveGatedConv(Mixer):
    """W_out y_n with y_1 = g q_1 and y_{i+1} = (W_i y_i) q_{i+1}: spatial interactions of order n = `order`.

    A 1x1 convolution C -> 2 C with bias yields g of C / 2^(n-1) channels and q of C / 2^(n-1), ..., C / 2, C channels;
    q then runs through the spatial operator and is multiplied by `scale`. W_i is a 1x1 convolution with bias that doubles
    the width. 2^(n-1) must divide C.

    Args:
        order: n; 2, 3, 4 and 5 in the four stages of HorNet.
        kernel: extent of the depthwise convolution.
        scale: factor of q; without it high orders diverge.
        filter: the spatial operator: "depthwise" is one depthwise convolution with bias; "global_local" normalises over
            channels, convolves one half with a depthwise 3x3, multiplies the spectrum of the other half with a learnt
            complex filter of the map size, interleaves the halves and normalises again; then 2^n must divide C.

    Rao et al., 2022, HorNet: Efficient High-Order Spatial Interactions with Recursive Gated Convolutions.
    """

    paper: ClassVar[Paper] = Paper(
        title="HorNet: Efficient High-Order Spatial Interactions with Recursive Gated Convolutions",
        authors="Yongming Rao, Wenliang Zhao, Yansong Tang, Jie Zhou, Ser-Nam Lim, Jiwen Lu",
        year=2022,
        key="hornet_gnconv",
    )

    order: Positive = 3
    kernel: Odd = 7
    scale: Factor = 1 / 3
    filter: Literal["depthwise", "global_local"] = "depthwise"

    def output(self, x: Feature) -> Feature:
        channels = image(self, x).channels
        spare = self.filter == "global_local"
        if channels % 2 ** (self.order - 1 + spare):
            fits = [n for n in range(1, self.order + 1) if channels % 2 ** (n - 1 + spare) == 0]
            use = f"an order of {listed(fits)}" if fits else 'filter="depthwise"'
            raise ShapeError(f"order {self.order} cannot halve {channels} channels so often; use {use}")
        return x

    def build(self, x: Feature) -> nn.Module:
        height, width = self.output(x).size
        size = (height, width) if self.filter == "global_local" else None
        return RecursiveGatedConvolution(x.channels, self.order, self.kernel, self.scale, size)

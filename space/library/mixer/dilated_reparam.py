"""A large depthwise kernel that is trained as a sum of small dilated ones."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from archfront.space.library.common import image
from archfront.space.spec import Mixer, Paper
from archfront.space.types import Feature

DILATED_BRANCHES: dict[int, tuple[tuple[int, int], ...]] = {
    5: ((3, 1), (3, 2)),
    7: ((5, 1), (3, 2), (3, 3)),
    9: ((5, 1), (5, 2), (3, 3), (3, 4)),
    11: ((5, 1), (5, 2), (3, 3), (3, 4), (3, 5)),
    13: ((5, 1), (7, 2), (3, 3), (3, 4), (3, 5)),
    15: ((5, 1), (7, 2), (3, 3), (3, 5), (3, 7)),
    17: ((5, 1), (9, 2), (3, 4), (3, 5), (3, 7)),
}
"""For each large kernel the extent and the dilation of the small ones beside it."""


def depthwise(channels: int, kernel: int, dilation: int = 1, bias: bool = False) -> nn.Conv2d:
    """A depthwise convolution that keeps the size."""
    padding = dilation * (kernel // 2)
    return nn.Conv2d(channels, channels, kernel, padding=padding, dilation=dilation, groups=channels, bias=bias)


def folded(conv: nn.Module, norm: nn.Module) -> tuple[Tensor, Tensor]:
    """Weight and bias of the convolution that equals `conv` followed by the batch norm `norm` in evaluation mode."""
    assert isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
    assert norm.running_mean is not None and norm.running_var is not None
    factor = norm.weight / (norm.running_var + norm.eps).sqrt()
    shift = norm.running_mean if conv.bias is None else norm.running_mean - conv.bias
    return conv.weight * factor[:, None, None, None], norm.bias - shift * factor


def spread(weight: Tensor, dilation: int, kernel: int) -> Tensor:
    """The `kernel` x `kernel` weight, 0 between and around the taps, that equals `weight` with that dilation."""
    span = dilation * (weight.shape[-1] - 1) + 1
    start = (kernel - span) // 2
    taps = torch.arange(start, start + span, dilation, device=weight.device)
    wide = weight.new_zeros(*weight.shape[:2], kernel, kernel)
    wide[:, :, taps[:, None], taps[None, :]] = weight
    return wide


class DilatedReparamConv(nn.Module):
    """A large depthwise convolution and small dilated ones on the same input, each behind batch norm, added up."""

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        self.conv = depthwise(channels, kernel)
        self.norm = nn.BatchNorm2d(channels)
        branches = DILATED_BRANCHES[kernel]
        self.convs = nn.ModuleDict({f"k{k}_d{d}": depthwise(channels, k, d) for k, d in branches})
        self.norms = nn.ModuleDict({f"k{k}_d{d}": nn.BatchNorm2d(channels) for k, d in branches})

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.norm(self.conv(x))
        for conv, norm in zip(self.convs.values(), self.norms.values(), strict=True):
            y = y + norm(conv(x))
        return y

    @torch.no_grad()
    def merged(self) -> nn.Conv2d:
        """The one depthwise convolution with bias that computes the same in evaluation mode."""
        kernel = self.conv.kernel_size[0]
        weight, bias = folded(self.conv, self.norm)
        for conv, norm in zip(self.convs.values(), self.norms.values(), strict=True):
            assert isinstance(conv, nn.Conv2d)
            small, shift = folded(conv, norm)
            weight, bias = weight + spread(small, conv.dilation[0], kernel), bias + shift
        merged = depthwise(self.conv.in_channels, kernel, bias=True).to(weight)
        merged.load_state_dict({"weight": weight, "bias": bias})
        return merged


class DilatedReparam(Mixer):
    """sum_i BN(k_i *_d_i x): a depthwise `kernel` x `kernel` convolution and small dilated ones beside it.

    For kernel 13 the small ones have extent 5, 7, 3, 3, 3 at dilation 1, 2, 3, 4, 5. Each covers at most the large
    kernel, so that after training the sum is one convolution: `DilatedReparamConv.merged()`, which `merged=True`
    builds at once.

    Args:
        kernel: extent of the large kernel.
        merged: build the single convolution with bias in place of the branches.

    Ding et al., 2024, UniRepLKNet: A Universal Perception Large-Kernel ConvNet for Audio, Video, Point Cloud,
    Time-Series and Image Recognition; extended by Zhang, Ding and Yue, 2024, Scaling Up Your Kernels: Large Kernel
    Design in ConvNets towards Universal Representations.
    """

    paper: ClassVar[Paper] = Paper(
        title="Scaling Up Your Kernels: Large Kernel Design in ConvNets towards Universal Representations",
        authors="Yiyuan Zhang, Xiaohan Ding, Xiangyu Yue",
        year=2024,
        key="unireplknet",
    )

    kernel: Literal[5, 7, 9, 11, 13, 15, 17] = 13
    merged: bool = False

    def output(self, x: Feature) -> Feature:
        return image(self, x)

    def build(self, x: Feature) -> nn.Module:
        channels = image(self, x).channels
        if self.merged:
            return depthwise(channels, self.kernel, bias=True)
        return DilatedReparamConv(channels, self.kernel)

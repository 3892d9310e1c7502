"""Convolutions of several extents, and attention that selects among them."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from archfront.space.errors import ShapeError
from archfront.space.library.common import Activation, Finished, divisors, image, listed, scaled
from archfront.space.library.layers import make_activation
from archfront.space.spec import Factor, Odd, Operator, Paper, Positive
from archfront.space.types import Feature


class KernelBranch(nn.Sequential):
    """A convolution, batch norm and an activation; `dilated` spreads 3x3 taps over larger extents."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        stride: int = 1,
        groups: int = 1,
        dilated: bool = True,
        activation: str = "relu",
    ) -> None:
        super().__init__()
        spread = dilated and kernel > 3
        taps, dilation = (3, (kernel - 1) // 2) if spread else (kernel, 1)
        self.conv = nn.Conv2d(in_channels, out_channels, taps, stride, kernel // 2, dilation, groups, bias=False)
        self.norm = nn.BatchNorm2d(out_channels)
        self.act = make_activation(activation)


class SelectiveKernelConv(nn.Module):
    """Branches of different extents, added up with weights that depend on all of them, for each channel on its own."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernels: tuple[int, ...],
        hidden: int,
        stride: int = 1,
        groups: int = 1,
        dilated: bool = True,
        split_input: bool = False,
        activation: str = "relu",
    ) -> None:
        super().__init__()
        self.split_input = split_input
        fed = in_channels // len(kernels) if split_input else in_channels
        self.branches = nn.ModuleList(
            KernelBranch(fed, out_channels, kernel, stride, groups, dilated, activation) for kernel in kernels
        )
        self.reduce = nn.Linear(out_channels, hidden, bias=False)
        self.norm = nn.BatchNorm1d(hidden)
        self.act = make_activation(activation)
        self.select = nn.ModuleList(nn.Linear(hidden, out_channels, bias=False) for _ in kernels)

    def forward(self, x: Tensor) -> Tensor:
        maps = self.maps(x)
        weights = self.weights(maps)[:, :, :, None, None].unbind(1)
        y = maps[0] * weights[0]
        for branch, weight in zip(maps[1:], weights[1:], strict=True):
            y = y + branch * weight
        return y

    def maps(self, x: Tensor) -> list[Tensor]:
        """What each branch yields."""
        count = len(self.branches)
        inputs = x.chunk(count, 1) if self.split_input else [x] * count
        return [branch(part) for branch, part in zip(self.branches, inputs, strict=True)]

    def weights(self, maps: list[Tensor]) -> Tensor:
        """The weight of each branch for each channel, (N, branches, C); they add up to 1 over the branches."""
        total = maps[0]
        for branch in maps[1:]:
            total = total + branch
        summary = self.act(self.norm(self.reduce(total.mean((2, 3)))))
        return torch.stack([layer(summary) for layer in self.select], 1).softmax(1)


class SelectiveKernel(Operator, Finished):
    """V = sum_m a_m * U_m, U_m = act(BN(K_m * x)), a = softmax over m of A_m act(BN(W mean(sum_m U_m))).

    Branch m has a convolution K_m of its own extent; a_m holds one weight a channel, and for each channel the weights
    of the branches add up to 1. W maps C channels to max(C `ratio`, `min_hidden`), the A_m back; neither has a bias.
    In training the inner batch norm sees one vector an image, so a batch needs at least two.

    Args:
        kernels: extents of the branches.
        dilated: branches above 3x3 have nine taps, spread over their extent; otherwise dense kernels.
        groups: groups of every K_m; 32 in SKNet.
        ratio: width of the inner vector over C.
        min_hidden: its least width.
        split_input: each branch sees its own share of the input channels instead of all; their number divides the width.
        activation: act.

    Li et al., 2019, Selective Kernel Networks.
    """

    paper: ClassVar[Paper] = Paper(
        title="Selective Kernel Networks",
        authors="Xiang Li, Wenhai Wang, Xiaolin Hu, Jian Yang",
        year=2019,
        key="selective_kernel",
    )

    kernels: tuple[Odd, ...] = (3, 5)
    dilated: bool = True
    groups: Positive = 1
    ratio: Factor = 1 / 16
    min_hidden: Positive = 32
    split_input: bool = False
    activation: Activation = "relu"

    def output(self, x: Feature) -> Feature:
        y = image(self, x).at(self.width, self.stride)
        branches = len(self.kernels)
        if not branches:
            raise ShapeError("kernels is empty; use (3, 5), for example")
        if self.split_input and x.channels % branches:
            raise ShapeError(
                f"{branches} branches do not divide {x.channels} channels; use {listed(divisors(x.channels))} branches, "
                "or split_input=False"
            )
        fed = x.channels // branches if self.split_input else x.channels
        if fed % self.groups or y.channels % self.groups:
            fits = [n for n in divisors(fed) if y.channels % n == 0]
            raise ShapeError(f"{self.groups} groups do not divide {fed} and {y.channels} channels; use {listed(fits)}")
        return y

    def build(self, x: Feature) -> nn.Module:
        y = self.output(x)
        return SelectiveKernelConv(
            x.channels,
            y.channels,
            self.kernels,
            max(scaled(y.channels, self.ratio), self.min_hidden),
            self.stride,
            self.groups,
            self.dilated,
            self.split_input,
            self.activation,
        )

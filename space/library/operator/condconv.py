"""Convolution whose kernel is mixed from experts for each image."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archfront.space.errors import ShapeError
from archfront.space.library.common import divisors, image, listed
from archfront.space.spec import Odd, Operator, Paper, Positive
from archfront.space.types import Feature


class Routing(nn.Module):
    """The weight of each expert for each image, from the means of its channels: (N, C, H, W) to (N, experts)."""

    def __init__(self, channels: int, experts: int, routing: str = "sigmoid") -> None:
        super().__init__()
        self.routing = routing
        self.linear = nn.Linear(channels, experts)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.linear(x.mean((2, 3)))
        return scores.softmax(1) if self.routing == "softmax" else scores.sigmoid()


class MixedConv2d(nn.Module):
    """A "same"-padded convolution without bias whose kernel is the sum of its experts' kernels, weighted for each image."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int, experts: int, stride: int = 1, groups: int = 1
    ) -> None:
        super().__init__()
        self.kernel = kernel
        self.stride = stride
        self.groups = groups
        self.experts = nn.ModuleList(
            nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, groups=groups, bias=False)
            for _ in range(experts)
        )

    def forward(self, x: Tensor, weights: Tensor) -> Tensor:
        kernels = weights @ torch.stack([weight.flatten() for weight in self.experts.parameters()])
        # torch.export knows no number of groups that depends on the batch
        if self.kernel == 1 or torch.compiler.is_exporting():
            return self.multiplied(x, kernels)
        batch, channels, *size = x.shape
        kernels = kernels.reshape(-1, channels // self.groups, self.kernel, self.kernel)
        x = x.reshape(1, batch * channels, *size)
        y = F.conv2d(x, kernels, stride=self.stride, padding=self.kernel // 2, groups=batch * self.groups)
        return y.reshape(batch, -1, *y.shape[2:])

    def multiplied(self, x: Tensor, kernels: Tensor) -> Tensor:
        """The convolution as one matrix product for each image and group; `kernels` holds a row an image."""
        # rounded up by quotients of positive numbers: exported graphs round towards zero
        rows, columns = ((n + self.stride - 1) // self.stride for n in x.shape[2:])
        if self.kernel == 1:
            patches = x[:, :, :: self.stride, :: self.stride].flatten(2)
        else:
            patches = F.unfold(x, self.kernel, padding=self.kernel // 2, stride=self.stride)
        inputs = patches.shape[1] // self.groups
        patches = patches.reshape(-1, self.groups, inputs, rows * columns)
        y = kernels.reshape(-1, self.groups, kernels.shape[1] // inputs // self.groups, inputs) @ patches
        return y.reshape(-1, y.shape[1] * y.shape[2], rows, columns)


class ConditionalConv(nn.Module):
    """A mixed convolution that routes by its own input."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        experts: int,
        stride: int = 1,
        groups: int = 1,
        routing: str = "sigmoid",
    ) -> None:
        super().__init__()
        self.routing = Routing(in_channels, experts, routing)
        self.conv = MixedConv2d(in_channels, out_channels, kernel, experts, stride, groups)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(x, self.routing(x))
        return y


class CondConv(Operator):
    """y = (sum_e r_e(x) W_e) * x, r(x) = sigmoid(R mean(x) + b): a kernel of each image's own, without bias.

    The experts W_e are mixed before the convolution, which so costs as much as one; mixing costs `experts` times the
    number of weights, whatever the resolution. A single expert is a plain convolution without routing.

    Args:
        kernel: extent of the kernel.
        experts: number of kernels to mix.
        routing: "sigmoid" weighs every expert on its own, "softmax" makes the weights add up to 1.
        groups: groups of the convolution; divides both widths.

    Yang et al., 2019, CondConv: Conditionally Parameterized Convolutions for Efficient Inference.
    """

    paper: ClassVar[Paper] = Paper(
        title="CondConv: Conditionally Parameterized Convolutions for Efficient Inference",
        authors="Brandon Yang, Gabriel Bender, Quoc V. Le, Jiquan Ngiam",
        year=2019,
        key="condconv",
    )

    kernel: Odd = 3
    experts: Positive = 4
    routing: Literal["sigmoid", "softmax"] = "sigmoid"
    groups: Positive = 1

    def output(self, x: Feature) -> Feature:
        y = image(self, x).at(self.width, self.stride)
        if x.channels % self.groups or y.channels % self.groups:
            fits = [n for n in divisors(x.channels) if y.channels % n == 0]
            raise ShapeError(
                f"{self.groups} groups do not divide the widths {x.channels} and {y.channels}; use {listed(fits)}"
            )
        return y

    def build(self, x: Feature) -> nn.Module:
        width = self.output(x).channels
        if self.experts == 1:
            return nn.Conv2d(
                x.channels, width, self.kernel, self.stride, self.kernel // 2, groups=self.groups, bias=False
            )
        return ConditionalConv(x.channels, width, self.kernel, self.experts, self.stride, self.groups, self.routing)

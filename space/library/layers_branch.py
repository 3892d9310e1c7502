"""Branches of convolutions side by side, described by plain numbers in the notation of the Inception papers."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from archfront.space.library.layers import make_activation
from archfront.space.spec import Odd, Positive

Layer = tuple[Positive, Odd, Odd]
"""A convolution: channels, height and width of its kernel. `(64, 1, 7)` is "64 1x7" in the papers."""

Fork = tuple[Layer, ...]
"""Convolutions on the same input, their results concatenated."""

Pool = Literal["average", "max"]
"""3x3 pooling."""

Branch = tuple[Pool | Layer | Fork, ...]
"""Layers in sequence."""


class BranchConv(nn.Sequential):
    """Convolution without bias, batch norm, activation; padded to keep the size at stride 1, or not padded."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: tuple[int, int] = (1, 1),
        stride: int = 1,
        padded: bool = True,
        activation: str = "relu",
    ) -> None:
        super().__init__()
        padding = (kernel[0] // 2, kernel[1] // 2) if padded else (0, 0)
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, stride, padding, bias=False)
        self.norm = nn.BatchNorm2d(out_channels)
        self.act = make_activation(activation)


class Concatenated(nn.Module):
    """Branches that read the same input; their results are concatenated along the channels."""

    def __init__(self, branches: tuple[nn.Module, ...]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.branches], 1)


def fork_of(layer: Layer | Fork) -> Fork:
    """The convolutions of a layer: itself, or those side by side."""
    return layer if isinstance(layer[0], tuple) else (layer,)


def channels_of(layer: Pool | Layer | Fork, before: int) -> int:
    """The channels that a layer yields for `before` channels."""
    return before if isinstance(layer, str) else sum(channels for channels, _, _ in fork_of(layer))


def kernels_of(layer: Pool | Layer | Fork) -> tuple[tuple[int, int], ...]:
    """The kernels of a layer."""
    return ((3, 3),) if isinstance(layer, str) else tuple((height, width) for _, height, width in fork_of(layer))


def branches_width(branches: tuple[Branch, ...], before: int) -> int:
    """The channels that branches yield together; one of pooling alone hands its input on."""
    total = 0
    for branch in branches:
        width = before
        for layer in branch:
            width = channels_of(layer, width)
        total += width
    return total


def make_layer(
    before: int, layer: Pool | Layer | Fork, stride: int = 1, padded: bool = True, activation: str = "relu"
) -> nn.Module:
    """The module of one layer of a branch. An average counts no padding."""
    if layer == "max":
        return nn.MaxPool2d(3, stride, padding=int(padded))
    if layer == "average":
        return nn.AvgPool2d(3, stride, padding=int(padded), count_include_pad=False)
    fork = fork_of(layer)
    convs = tuple(BranchConv(before, channels, (h, w), stride, padded, activation) for channels, h, w in fork)
    return convs[0] if len(convs) == 1 else Concatenated(convs)


def make_branches(
    before: int, branches: tuple[Branch, ...], stride: int = 1, padded: bool = True, activation: str = "relu"
) -> Concatenated:
    """The branches on `before` channels; `stride` and `padded` say what the last layer of each does."""
    made = []
    for *inner, last in branches:
        layers, width = [], before
        for layer in inner:
            layers.append(make_layer(width, layer, activation=activation))
            width = channels_of(layer, width)
        layers.append(make_layer(width, last, stride, padded, activation))
        made.append(nn.Sequential(*layers))
    return Concatenated(tuple(made))

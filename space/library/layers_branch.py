"""Branches of convolutions side by side, described by plain numbers in the notation of the Inception papers."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from archfront.space.library.layers import make_activation
from archfront.space.spec import Odd, Positive

Layer = tuple[Positive, Odd, Odd]
"""A convolution: channels, height and width of its kernel. `(64, 1, 7)` is written "64 1x7" in the papers."""

Pool = Literal["average", "max"]
"""3x3 pooling."""

Branch = tuple[Layer | Pool | tuple[Layer, ...], ...]
"""Layers in sequence; a tuple of convolutions inside stands for these side by side, their results concatenated."""


class BranchConv(nn.Sequential):
    """Convolution without bias, batch norm, activation; padded to keep the size at stride 1, or not padded."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: tuple[int, int],
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


def make_pooling(kind: str, stride: int = 1, padded: bool = True) -> nn.Module:
    """3x3 pooling; an average counts no padding."""
    if kind == "max":
        return nn.MaxPool2d(3, stride, padding=int(padded))
    return nn.AvgPool2d(3, stride, padding=int(padded), count_include_pad=False)


def make_branch(
    in_channels: int, branch: Branch, stride: int = 1, padded: bool = True, activation: str = "relu"
) -> tuple[nn.Module, int]:
    """The module of a branch and the channels it yields. `stride` and `padded` say what its last layer does."""
    modules: list[nn.Module] = []
    width = in_channels
    for number, layer in enumerate(branch, 1):
        last = number == len(branch)
        how = (stride, padded) if last else (1, True)
        if isinstance(layer, str):
            modules.append(make_pooling(layer, *how))
            continue
        fork = layer if isinstance(layer[0], tuple) else (layer,)
        convs = tuple(BranchConv(width, channels, (h, w), *how, activation) for channels, h, w in fork)  # type: ignore[misc]
        modules.append(convs[0] if len(convs) == 1 else Concatenated(convs))
        width = sum(channels for channels, _, _ in fork)  # type: ignore[misc]
    return nn.Sequential(*modules), width


def ends(branch: Branch) -> tuple[tuple[int, int], ...]:
    """The kernels of the last layer of a branch."""
    layer = branch[-1]
    if isinstance(layer, str):
        return ((3, 3),)
    fork = layer if isinstance(layer[0], tuple) else (layer,)
    return tuple((h, w) for _, h, w in fork)  # type: ignore[misc]


def resized(branches: tuple[Branch, ...], width: int, passed: int) -> tuple[Branch, ...]:
    """The branches with all channels in one proportion, so that together they yield `width`.

    `passed` are the channels of the input, which a branch of pooling alone hands on. What the branches yield is cut
    from the width by rounding the running sum, so that nothing is lost; layers inside are rounded on their own.
    """
    given = sum(channels for branch in branches for channels in yields(branch))
    wanted = width - passed * sum(not yields(branch) for branch in branches)
    if given == wanted:
        return branches
    factor, total, result = wanted / given, 0, []
    for branch in branches:
        *inner, last = branch
        layers: list[Layer | Pool | tuple[Layer, ...]] = [_each(layer, factor) for layer in inner]
        if isinstance(last, str):
            if inner and yields(branch):
                layers[-1], total = _cut(layers[-1], inner[-1], total, factor)
            result.append((*layers, last))
            continue
        sized, total = _cut(last, last, total, factor)
        result.append((*layers, sized))
    return tuple(result)

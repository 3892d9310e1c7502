"""Small modules that several blocks are made of. Torch only: exported code holds them as they stand here."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def make_activation(name: str) -> nn.Module:
    """The activation called `name`; "none" gives the identity."""
    activations: dict[str, type[nn.Module]] = {
        "none": nn.Identity,
        "relu": nn.ReLU,
        "relu6": nn.ReLU6,
        "silu": nn.SiLU,
        "gelu": nn.GELU,
        "hardswish": nn.Hardswish,
        "sigmoid": nn.Sigmoid,
        "hardsigmoid": nn.Hardsigmoid,
    }
    return activations[name]()


def make_norm(name: str, channels: int) -> nn.Module:
    """The normalisation called `name` for feature maps (N, channels, H, W); "none" gives the identity."""
    if name == "none":
        return nn.Identity()
    if name == "group1":
        return nn.GroupNorm(1, channels)
    norms: dict[str, type[nn.Module]] = {"batch": nn.BatchNorm2d, "layer": LayerNorm2d}
    return norms[name](channels)


class LayerNorm2d(nn.LayerNorm):
    """Layer norm over the channels of each position of a feature map (N, C, H, W)."""

    def __init__(self, channels: int, eps: float = 1e-6) -> None:
        super().__init__(channels, eps=eps)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ConvNormAct(nn.Sequential):
    """A "same"-padded convolution, a normalisation and an activation; sizes become ceil(n / stride)."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int = 1,
        stride: int = 1,
        groups: int = 1,
        norm: str = "batch",
        activation: str = "none",
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            in_channels, out_channels, kernel, stride, padding=kernel // 2, groups=groups, bias=norm == "none"
        )
        self.norm = make_norm(norm, out_channels)
        self.act = make_activation(activation)


class LayerScale(nn.Module):
    """A learnt factor a channel, `initial` at first (Touvron et al., 2021, Going deeper with Image Transformers)."""

    def __init__(self, channels: int, initial: float) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((channels,), initial))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale[:, None, None]


class DropPath(nn.Module):
    """Stochastic depth: in training, zeroes a whole sample with probability `rate` and rescales the others.

    Huang et al., 2016, Deep Networks with Stochastic Depth.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.rate == 0.0:
            return x
        keep = 1.0 - self.rate
        return x * x.new_empty(x.shape[0], 1, 1, 1).bernoulli_(keep) / keep


class Shortcut(nn.Sequential):
    """What a residual block adds to its branch: the input, projected by a 1x1 convolution where the type changes.

    With `pool` a strided projection averages its tiles first, so that it reads every position.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1, pool: bool = False) -> None:
        super().__init__()
        changes = stride != 1 or in_channels != out_channels
        pool = pool and stride != 1
        self.pool = nn.AvgPool2d(stride, ceil_mode=True, count_include_pad=False) if pool else nn.Identity()
        self.project = (
            ConvNormAct(in_channels, out_channels, stride=1 if pool else stride) if changes else nn.Identity()
        )

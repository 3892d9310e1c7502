"""Downsampling by patches: a convolution with bias and a normalisation on either side of it."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch.nn.functional as F
from torch import Tensor, nn

from archfront.space.library.common import image
from archfront.space.library.layers import make_norm
from archfront.space.spec import Downsample, Odd, Paper
from archfront.space.types import Feature


class PatchConv(nn.Module):
    """A linear map of patches with a normalisation before or after; patches that would stand over are filled with 0.

    Patches of `kernel` x `kernel` positions, `stride` apart, centred on their tiles if they overlap.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int,
        kernel: int | None = None,
        norm: str = "layer",
        norm_first: bool = False,
    ) -> None:
        super().__init__()
        self.stride = stride
        self.tiles = kernel is None
        self.before = make_norm(norm if norm_first else "none", in_channels)
        self.conv = nn.Conv2d(in_channels, out_channels, kernel or stride, stride, padding=(kernel or 0) // 2)
        self.after = make_norm("none" if norm_first else norm, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        x = self.before(x)
        if self.tiles and self.stride > 1:
            # remainders of positive numbers: exported graphs round towards zero
            right, down = ((self.stride - n % self.stride) % self.stride for n in (x.shape[3], x.shape[2]))
            x = F.pad(x, (0, right, 0, down))
        y: Tensor = self.after(self.conv(x))
        return y


class PatchDownsample(Downsample):
    """norm(W * x + b), or with `norm_first` W * norm(x) + b: a convolution of tiles of `stride` x `stride` positions.

    Tiles at the right and bottom border are filled with zeros where `stride` does not divide the size.
    `PatchDownsample(norm_first=True)` stands between the stages of ConvNeXt, `PatchDownsample()` between those of
    UniFormer, `PatchDownsample(kernel=3)` between those of UniRepLKNet.

    Args:
        kernel: extent of patches that overlap; None takes the tiles themselves.
        norm: the normalisation.
        norm_first: whether it stands before the convolution.

    Liu et al., 2022, A ConvNet for the 2020s.
    """

    paper: ClassVar[Paper] = Paper(
        title="A ConvNet for the 2020s",
        authors="Zhuang Liu, Hanzi Mao, Chao-Yuan Wu, Christoph Feichtenhofer, Trevor Darrell, Saining Xie",
        year=2022,
    )

    kernel: Odd | None = None
    norm: Literal["batch", "layer", "group1", "none"] = "layer"
    norm_first: bool = False

    def output(self, x: Feature) -> Feature:
        return image(self, x).at(self.width, self.stride)

    def build(self, x: Feature) -> nn.Module:
        width = self.output(x).channels
        return PatchConv(x.channels, width, self.stride, self.kernel, self.norm, self.norm_first)

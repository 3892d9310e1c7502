"""Patch embedding as the entry of a network."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import nn

from archfront.space.errors import ShapeError
from archfront.space.library.common import divisors, image, listed
from archfront.space.library.layers import make_norm
from archfront.space.spec import NonNegative, Paper, Positive, Stem
from archfront.space.types import Feature


class PatchEmbedding(nn.Sequential):
    """A linear map of every patch of `kernel` x `kernel` pixels, `stride` apart, then a normalisation."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int, stride: int, padding: int = 0, norm: str = "none"
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, stride, padding)
        self.norm = make_norm(norm, out_channels)


class PatchStem(Stem):
    """norm(W * x + b) on patches `patch` pixels apart: sizes become (n + 2 padding - kernel) // patch + 1.

    Args:
        patch: distance of the patches, and their extent where `kernel` is None; then it must divide the image.
        kernel: extent of patches that overlap: 7 with patch 4 and padding 2 in PoolFormer.
        padding: zeros around the image.

    Dosovitskiy et al., 2021, An Image is Worth 16x16 Words: Transformers for Image Recognition at Scale.
    """

    paper: ClassVar[Paper] = Paper(
        title="An Image is Worth 16x16 Words: Transformers for Image Recognition at Scale",
        authors="Alexey Dosovitskiy et al.",
        year=2021,
    )

    patch: Positive = 4
    kernel: Positive | None = None
    padding: NonNegative = 0
    norm: Literal["batch", "layer", "group1", "none"] = "none"

    def output(self, x: Feature) -> Feature:
        extent = "x".join(map(str, image(self, x).size))
        if self.kernel is None and any((n + 2 * self.padding) % self.patch for n in x.size):
            fits = [n for n in divisors(x.size[0] + 2 * self.padding) if (x.size[1] + 2 * self.padding) % n == 0]
            raise ShapeError(
                f"patch {self.patch} does not divide {extent}; use {listed(fits)}, or a kernel that overlaps"
            )
        kernel = self.kernel or self.patch
        size = tuple((n + 2 * self.padding - kernel) // self.patch + 1 for n in x.size)
        if min(size) < 1:
            raise ShapeError(f"kernel {kernel} with padding {self.padding} is larger than the image {extent}")
        return Feature(self.width, size)

    def build(self, x: Feature) -> nn.Module:
        self.output(x)
        return PatchEmbedding(x.channels, self.width, self.kernel or self.patch, self.patch, self.padding, self.norm)

"""Zhao et al., 2020, Efficient Image Super-Resolution Using Pixel Attention: networks from image to larger image.

They are no chains, since the enlarged input is added at the end: `SuperResolution` is a composite of its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, nn

from archfront.space.errors import ShapeError
from archfront.space.library.block.self_calibrated_pixel import SCPA
from archfront.space.library.common import image
from archfront.space.library.downsample.convolution import ConvDownsample
from archfront.space.library.stem.patch import PatchStem
from archfront.space.library.upsample.interpolate import Interpolate
from archfront.space.library.upsample.pixel_attention import PixelAttentionUpsample
from archfront.space.network import Composite, Part, Stage
from archfront.space.references import published
from archfront.space.spec import Downsample, Stem, Upsample
from archfront.space.types import Feature, Image


class SuperResolutionModule(nn.Module):
    """An image enlarged by interpolation, plus what a trunk of blocks and upsampling layers make of it."""

    def __init__(
        self, stem: nn.Module, trunk: nn.Module, fuse: nn.Module, enlarge: nn.Module, last: nn.Module, skip: nn.Module
    ) -> None:
        super().__init__()
        self.stem = stem
        self.trunk = trunk
        self.fuse = fuse
        self.enlarge = enlarge
        self.last = last
        self.skip = skip

    def forward(self, x: Tensor) -> Tensor:
        features = self.stem(x)
        features = features + self.fuse(self.trunk(features))
        y: Tensor = self.last(self.enlarge(features)) + self.skip(x)
        return y


class SuperResolution(Composite):
    """skip(x) + last(enlarge(f + fuse(trunk(f)))) with f = stem(x): an image to one `scale` times as large.

    skip interpolates the image bilinearly.

    Args:
        stem: image to features, at the resolution of the image.
        trunk: keeps the type of the features.
        fuse: what the trunk yields is convolved with, before the features are added.
        enlarge: raises resolution; the product of the strides is the scale. At least one.
        last: features to colours.
    """

    stem: Stem
    trunk: tuple[Stage, ...]
    fuse: Downsample
    enlarge: tuple[Upsample, ...]
    last: Downsample

    @property
    def scale(self) -> int:
        """Extent of the result over extent of the image."""
        return math.prod(upsample.stride for upsample in self.enlarge)

    def parts(self, x: Feature) -> list[Part]:
        parts = [Part("stem", self.stem, image(self, x))]
        features = y = image(self, self.stem.output(x))
        for i, stage in enumerate(self.trunk):
            parts.append(Part(f"trunk[{i}]", stage, y))
            y = image(stage, stage.output(y))
        parts.append(Part("fuse", self.fuse, y))
        if self.fuse.output(y) != features:
            raise ShapeError(f"must yield what the stem yields, {features}, but yields {self.fuse.output(y)}", "fuse")
        y = features
        for i, upsample in enumerate(self.enlarge):
            parts.append(Part(f"enlarge[{i}]", upsample, y))
            y = upsample.output(y)
        parts.append(Part("last", self.last, y))
        skip = Interpolate(stride=self.scale, mode="bilinear")
        if self.last.output(y) != skip.output(x):
            raise ShapeError(f"must yield an image of type {skip.output(x)}, but yields {self.last.output(y)}", "last")
        return [*parts, Part("skip", skip, x)]

    def output(self, x: Feature) -> Feature:
        *_, skip = self.parts(x)
        return skip.spec.output(skip.input)  # type: ignore[return-value]

    def join(self, modules: Sequence[nn.Module]) -> nn.Module:
        stem, *trunk = modules[: 1 + len(self.trunk)]
        fuse, *enlarge, last, skip = modules[1 + len(self.trunk) :]
        return SuperResolutionModule(stem, nn.Sequential(*trunk), fuse, nn.Sequential(*enlarge), last, skip)


PAPER = SCPA.paper
SOURCE = "paper: {} K parameters, {} G multiply-adds for a result of 1280 x 720"


def pan(scale: int, colours: int, width: int = 40, upsampled: int = 24, blocks: int = 16) -> SuperResolution:
    """The network for an enlargement of 2, 3 or 4: one step of upsampling, for 4 two steps of 2."""
    steps = (2, 2) if scale == 4 else (scale,)
    return SuperResolution(
        stem=PatchStem(width=width, patch=1, kernel=3, padding=1),
        trunk=(Stage(width=width, depth=blocks, block=SCPA()),),
        fuse=ConvDownsample(width=width, norm="none"),
        enlarge=tuple(PixelAttentionUpsample(width=upsampled, stride=step) for step in steps),
        last=ConvDownsample(width=colours, norm="none"),
    )


@published(
    "PAN x4",
    paper=PAPER,
    params=272_419,
    gmacs=28.16,
    source=SOURCE.format(272, 28.2),
    input=Image(3, 180, 320),
    classes=3,
)
def pan_x4(classes: int) -> SuperResolution:
    """PAN for four times the extent; the classes are colours."""
    return pan(4, classes)


@published(
    "PAN x2",
    paper=PAPER,
    params=261_403,
    gmacs=70.52,
    source=SOURCE.format(261, 70.5),
    input=Image(3, 360, 640),
    classes=3,
)
def pan_x2(classes: int) -> SuperResolution:
    """PAN for twice the extent; the classes are colours."""
    return pan(2, classes)


@published(
    "PAN x3",
    paper=PAPER,
    params=261_403,
    gmacs=38.99,
    source=SOURCE.format(261, 39.0),
    input=Image(3, 240, 426),
    classes=3,
)
def pan_x3(classes: int) -> SuperResolution:
    """PAN for three times the extent; the classes are colours."""
    return pan(3, classes)

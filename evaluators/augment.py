"""Augmentation of whole batches: no loop over images, every number drawn from one generator."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from archfront.space.errors import ArchfrontError, nearest


@dataclass(frozen=True)
class Augment:
    """Random changes of training images, each off by default.

    Images are (N, C, H, W) and normalised, so that what is filled with 0 takes the mean colour of the data set.

    Args:
        crop: shift by up to this many pixels in each direction, filling with 0: a random crop of the padded image
            (Lee et al., 2015, Deeply-Supervised Nets; He et al., 2016, Deep Residual Learning for Image Recognition).
        flip: mirror left and right with probability 1/2. Not for digits, text, or anything else that has a handedness.
        cutout: side of a square at a random centre that is set to 0; parts of it may fall outside
            (DeVries & Taylor, 2017, Improved Regularization of Convolutional Neural Networks with Cutout).
        mixup: alpha of the Beta(alpha, alpha) distribution of the weight with which each batch is mixed with a shuffled
            copy of itself, labels too (Zhang et al., 2018, mixup: Beyond Empirical Risk Minimization). 0 turns it off.
    """

    crop: int = 0
    flip: bool = False
    cutout: int = 0
    mixup: float = 0.0

    def __post_init__(self) -> None:
        for name in ("crop", "cutout", "mixup"):
            if getattr(self, name) < 0:
                raise ArchfrontError(f"augment: {name} must not be negative, got {getattr(self, name)}")

    def __call__(self, images: Tensor, labels: Tensor, classes: int, generator: Generator) -> tuple[Tensor, Tensor]:
        """The changed images and the labels: (N,) as given, or with mixup shares of the classes (N, classes)."""
        if self.crop or self.flip:
            images = _shift_and_flip(images, self.crop, self.flip, generator)
        if self.cutout:
            images = _cut_out(images, self.cutout, generator)
        if self.mixup:
            return _mix(images, labels, classes, self.mixup, generator)
        return images, labels


def augment_named(text: str, size: tuple[int, int]) -> Augment | None:
    """The augmentation of a name: "none", or some of "crop", "flip", "cutout" and "mixup" joined by "+".

    Strengths follow the image size and are those of the papers at 32 pixels: crops shift by an eighth of the shorter
    side (at least 1 pixel), cutout's square has half of it, mixup has alpha 0.2.
    """
    if text == "none":
        return None
    side = min(size)
    strengths: dict[str, dict[str, float]] = {
        "crop": {"crop": max(1, side // 8)},
        "flip": {"flip": True},
        "cutout": {"cutout": max(1, side // 2)},
        "mixup": {"mixup": 0.2},
    }
    chosen: dict[str, float] = {}
    for word in text.split("+"):
        if word not in strengths:
            raise ArchfrontError(f"augment={text!r}: unknown {word!r}{nearest(word, (*strengths, 'none'))}")
        chosen |= strengths[word]
    return Augment(**chosen)  # type: ignore[arg-type]


def _shift_and_flip(images: Tensor, pad: int, flip: bool, generator: Generator) -> Tensor:
    """One gather does both: row and column indices into the padded images, columns reversed where flipped."""
    count, _, height, width = images.shape
    rows = torch.arange(height) + torch.randint(2 * pad + 1, (count, 1), generator=generator)
    columns = torch.arange(width).expand(count, -1)
    if flip:
        columns = torch.where(torch.rand(count, 1, generator=generator) < 0.5, columns.flip(1), columns)
    columns = columns + torch.randint(2 * pad + 1, (count, 1), generator=generator)
    padded = F.pad(images, (pad, pad, pad, pad)).permute(0, 2, 3, 1)
    item = torch.arange(count, device=images.device)[:, None, None]
    gathered = padded[item, rows.to(images.device)[:, :, None], columns.to(images.device)[:, None, :]]
    return gathered.permute(0, 3, 1, 2)


def _cut_out(images: Tensor, side: int, generator: Generator) -> Tensor:
    count, _, height, width = images.shape
    rows = _band(count, height, side, generator)
    columns = _band(count, width, side, generator)
    hole = (rows[:, :, None] & columns[:, None, :])[:, None]
    return images.masked_fill(hole.to(images.device), 0.0)


def _band(count: int, extent: int, side: int, generator: Generator) -> Tensor:
    """For each image, the positions within `side` pixels around a random centre: (count, extent) booleans."""
    start = torch.randint(extent, (count, 1), generator=generator) - side // 2
    position = torch.arange(extent)
    return (position >= start) & (position < start + side)


def _mix(images: Tensor, labels: Tensor, classes: int, alpha: float, generator: Generator) -> tuple[Tensor, Tensor]:
    weight = _beta(alpha, generator)
    partner = torch.randperm(len(images), generator=generator).to(images.device)
    shares = F.one_hot(labels, classes).to(images.dtype)
    return images.lerp(images[partner], 1 - weight), shares.lerp(shares[partner], 1 - weight)


def _beta(alpha: float, generator: Generator) -> float:
    """One draw of Beta(alpha, alpha); torch's own sampler takes no generator."""
    import numpy as np

    seed = int(torch.randint(2**62, (), generator=generator))
    return float(np.random.default_rng(seed).beta(alpha, alpha))

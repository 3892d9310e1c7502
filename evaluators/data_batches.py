"""Images in memory and the batches drawn from them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Generator, Tensor

from .augment import Augment, augment_named
from .sources.listing import DataError


@dataclass(frozen=True)
class Normalise:
    """(x / scale - mean) / std per channel, as float32.

    `mean` and `std` are of the training images after division by `scale`: 255 for 8-bit images, 1 for floats.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    scale: float

    @staticmethod
    def of(images: Tensor) -> Normalise:
        """The statistics of `images` (N, C, H, W), summed in float64. A constant channel gets the deviation 1."""
        scale = 1.0 if images.is_floating_point() else 255.0
        count = images.numel() // images.shape[1]
        mean = sum(chunk.double().sum((0, 2, 3)) for chunk in torch.split(images, 256)) / count
        centre = torch.as_tensor(mean)[:, None, None]
        square = sum((chunk.double() - centre).square().sum((0, 2, 3)) for chunk in torch.split(images, 256))
        std = torch.as_tensor(square / count).sqrt()
        std = torch.where(std > 0, std, scale)
        return Normalise(tuple((centre.flatten() / scale).tolist()), tuple((std / scale).tolist()), scale)

    def __call__(self, images: Tensor) -> Tensor:
        """Normalised images, ready for a network."""
        gain = torch.tensor([1 / (self.scale * std) for std in self.std], device=images.device)[:, None, None]
        offset = torch.tensor(
            [-mean / std for mean, std in zip(self.mean, self.std, strict=True)], device=images.device
        )
        return images.float().mul_(gain).add_(offset[:, None, None])


@dataclass(frozen=True, eq=False)
class Split:
    """Labelled images in memory.

    Args:
        images: (N, C, H, W), uint8 or float32, as they were stored.
        labels: (N,), int64.
        rows: (N,), int64: the position of each image in the part of the source that it comes from.
        classes: how many classes there are.
        normalise: what `batches` does to the images, from the statistics of the training split.
    """

    images: Tensor
    labels: Tensor
    rows: Tensor
    classes: int
    normalise: Normalise

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, positions: Tensor) -> Split:
        """The images at `positions`, in that order."""
        return replace(self, images=self.images[positions], labels=self.labels[positions], rows=self.rows[positions])

    def to(self, device: torch.device | str) -> Split:
        """The same on another device; batches are then made there, and are the same batches."""
        return replace(self, images=self.images.to(device), labels=self.labels.to(device))


def epoch_generator(seed: int, epoch: int) -> Generator:
    """The generator of one epoch: the same for the same (seed, epoch), unrelated to those of all others."""
    digest = hashlib.sha256(f"{seed}/{epoch}".encode()).digest()
    return Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def batches(
    split: Split,
    batch_size: int,
    generator: Generator | None = None,
    shuffle: bool = False,
    augment: Augment | str | None = None,
    drop_last: bool = False,
    *,
    channels_last: bool = True,
    first: int = 0,
) -> Iterator[tuple[Tensor, Tensor]]:
    """One pass over `split`: normalised images (N, C, H, W), float32, and labels (N,), or (N, classes) under mixup.

    Each batch draws its augmentation from a generator of its own, so an epoch continued at batch `first` gives exactly
    what an uninterrupted one gives, if `generator` starts the same (`epoch_generator(seed, epoch)`).

    Args:
        generator: on the CPU; needed by `shuffle` and `augment`.
        augment: an augmentation, or its name (`augment_named`).
        drop_last: leave out a last batch that is not full.
        channels_last: memory format of the images.
        first: how many batches to leave out at the front.

    Raises:
        DataError: no full batch although `drop_last`, or randomness without a generator.
    """
    if batch_size < 1 or first < 0:
        raise DataError(f"batch_size={batch_size}, first={first}: expected batch_size >= 1 and first >= 0")
    if drop_last and batch_size > len(split):
        raise DataError(f"batch_size={batch_size}: with drop_last, {len(split)} images give no batch at all")
    if isinstance(augment, str):
        augment = augment_named(augment, (split.images.shape[2], split.images.shape[3]))
    if (shuffle or augment) and generator is None:
        raise DataError("shuffle and augment need a generator: epoch_generator(seed, epoch)")
    return _batches(split, batch_size, generator or Generator(), shuffle, augment, drop_last, channels_last, first)


def _batches(
    split: Split,
    batch_size: int,
    generator: Generator,
    shuffle: bool,
    augment: Augment | None,
    drop_last: bool,
    channels_last: bool,
    first: int,
) -> Iterator[tuple[Tensor, Tensor]]:
    count = len(split) // batch_size if drop_last else -(-len(split) // batch_size)
    order = torch.randperm(len(split), generator=generator) if shuffle else torch.arange(len(split))
    seeds = torch.randint(2**62, (count,), generator=generator).tolist()
    layout = torch.channels_last if channels_last else torch.contiguous_format
    for batch in range(first, count):
        chosen = order[batch * batch_size : (batch + 1) * batch_size].to(split.images.device)
        images, labels = split.normalise(split.images[chosen]), split.labels[chosen]
        if augment:
            images, labels = augment(images, labels, split.classes, Generator().manual_seed(seeds[batch]))
        yield images.contiguous(memory_format=layout), labels

"""Data sets: images from many layouts, split for training, validation and test, held in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from archfront.space.types import Feature, Image

from .data_batches import Normalise, Split, batches, epoch_generator
from .data_splits import plan_splits
from .sources import open_source
from .sources.listing import DataError, Faults, IntArray, Source

__all__ = ["DataError", "Dataset", "Split", "batches", "epoch_generator", "load_data"]

Progress = Callable[[int, int], None]
"""Told how many images are loaded, of how many."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """Labelled images of one size, split in three.

    A search sees `train` and `validation` only. `test` is touched once, at the end, for the figures that are reported:
    every choice that was made by looking at it makes those figures worth less.

    Images of a split stand in random order, so that its first images are a fair sample of it.

    Args:
        name: short name for titles; says so where only a part was loaded.
        source: what `load_data` was given.
        layout: which layout was recognised there.
        classes: the names of the classes, by label.
        input: the type that a network for these images takes.
        seed: the seed of the splits.
        fingerprint: SHA-256 of images, labels, classes and split: it changes when a run on this data would.
        skipped: what was left out, and why.
    """

    name: str
    source: str
    layout: str
    classes: tuple[str, ...]
    input: Feature
    train: Split
    validation: Split
    test: Split
    seed: int
    fingerprint: str
    skipped: tuple[str, ...] = ()

    @property
    def normalise(self) -> Normalise:
        """Brings a batch of stored images to float32, with mean 0 and standard deviation 1 over the training images."""
        return self.train.normalise

    @property
    def mean(self) -> tuple[float, ...]:
        """Mean of each channel over the training images; 8-bit images count from 0 to 1."""
        return self.normalise.mean

    @property
    def std(self) -> tuple[float, ...]:
        """Standard deviation of each channel over the training images, in the unit of `mean`."""
        return self.normalise.std

    def to_dict(self) -> dict[str, Any]:
        """What a study keeps about its data: with the source unchanged, seed and fingerprint give the same splits."""
        return {
            "name": self.name,
            "source": self.source,
            "layout": self.layout,
            "classes": list(self.classes),
            "input": self.input.to_dict(),
            "images": {"train": len(self.train), "validation": len(self.validation), "test": len(self.test)},
            "normalise": {"scale": self.normalise.scale, "mean": list(self.mean), "std": list(self.std)},
            "seed": self.seed,
            "fingerprint": self.fingerprint,
            "skipped": list(self.skipped),
        }


def load_data(
    source: str,
    *,
    size: tuple[int, int] | None = None,
    validation: float = 0.2,
    test: float = 0.2,
    limit: int | None = None,
    skip_bad: bool = False,
    channels: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Dataset:
    """Load the images at `source` into memory and split them.

    The layout is recognised by what stands there (`archfront.evaluators.sources.LAYOUTS`). Splits of the source are
    kept; what is missing is carved out of its training images, stratified by class, the same for the same seed.

    Args:
        source: "digits", or a path.
        size: (height, width) to which images are resized, antialiased, cut to the centre where the aspect ratio
            differs; without it all must have one size.
        validation: share of the training images that validate, where the source has no validation split.
        test: share of the training images that test, where the source has no test split.
        limit: keep this many training and validation images together, stratified by class; test stays whole.
        skip_bad: leave out images that cannot be used and report them, instead of stopping at the first.
        channels: 1 for grey, 3 for colour; by default what most images have.
        seed: of the splits.
        progress: called with (images loaded, images in all).

    Raises:
        DataError: names the file or row, what is wrong, and what would work.
    """
    if size is not None and min(size) < 1:
        raise DataError(f"size={size}: expected a positive height and width")
    faults = Faults(skip_bad)
    found = open_source(source, faults, channels)
    classes = found.classes or _numbered(found)
    usable = {part: _usable_rows(found, part, len(classes), faults) for part in found.parts}
    _check_classes(found, usable, classes, faults)
    labels = {part: found.parts[part].labels[rows] for part, rows in usable.items()}
    plan = plan_splits(labels, validation=validation, test=test, limit=limit, seed=seed)
    rows = {split: usable[part][positions] for split, (part, positions) in plan.items()}

    form = found.parts["train"].form(rows["train"], channels, size)
    report = _counter(progress, sum(map(len, rows.values())))
    loaded = {}
    for split, (part, _) in plan.items():
        images, kept = found.parts[part].load(rows[split], form, faults, report)
        order = np.random.default_rng(seed).permutation(len(kept))
        labels_kept = found.parts[part].labels[kept]
        loaded[split] = images[order], torch.from_numpy(labels_kept[order]), torch.from_numpy(kept[order])
    _check_loaded(loaded, classes, source)

    normalise = Normalise.of(loaded["train"][0])
    splits = {split: Split(*tensors, len(classes), normalise) for split, tensors in loaded.items()}
    used = len(splits["train"]) + len(splits["validation"])
    return Dataset(
        name=found.name if limit is None else f"{found.name} ({used} of its images)",
        source=source,
        layout=found.layout,
        classes=classes,
        input=Image(form.channels, *form.size),
        **splits,
        seed=seed,
        fingerprint=_fingerprint(classes, splits),
        skipped=(*found.notes, *faults.found),
    )


def _numbered(source: Source) -> tuple[str, ...]:
    """Classes that are named by their labels: all numbers up to the highest label, each of which must occur."""
    train = source.parts["train"]
    found = np.unique(train.labels[train.labels >= 0])
    gaps = np.flatnonzero(found != np.arange(len(found)))
    if len(gaps):
        raise DataError(
            f"{source.name}: labels run up to {found[-1]} ({train.where(int(train.labels.argmax()))}), "
            f"but no training image has label {gaps[0]}; labels must count from 0 without gaps"
        )
    return tuple(map(str, found))


def _usable_rows(source: Source, part: str, classes: int, faults: Faults) -> IntArray:
    listing = source.parts[part]
    inside = (listing.labels >= 0) & (listing.labels < classes)
    for row in np.flatnonzero(~inside):
        label = listing.labels[row]
        why = "has no label" if label == -1 else f"label {label} is not in 0..{classes - 1}"
        faults.add(listing.where(int(row)), why)
    rows: IntArray = np.flatnonzero(inside)
    if not len(rows):
        raise DataError(f"{source.name}: no usable image in the {part} split")
    return rows


def _check_classes(source: Source, usable: Mapping[str, IntArray], classes: tuple[str, ...], faults: Faults) -> None:
    if len(classes) < 2:
        raise DataError(f"{source.name}: has {len(classes)} class ({', '.join(classes)}); it takes two to tell apart")
    for part, rows in usable.items():
        for label in np.setdiff1d(np.arange(len(classes)), source.parts[part].labels[rows]):
            faults.add(f"{source.name}, {part} split", f"class {classes[label]!r} has no image")
    needed = 4 - len(source.parts)
    counts = np.bincount(source.parts["train"].labels[usable["train"]], minlength=len(classes))
    for label in np.flatnonzero((counts > 0) & (counts < needed)):
        raise DataError(
            f"{source.name}: class {classes[label]!r} has {counts[label]} images, it needs {needed}: "
            "one for each split that is taken from the training images"
        )


def _check_loaded(loaded: Mapping[str, tuple[torch.Tensor, ...]], classes: tuple[str, ...], source: str) -> None:
    """After bad images were left out, every split must still hold some."""
    for split, (images, _, _) in loaded.items():
        if not len(images):
            raise DataError(f"{source}: no image of the {split} split can be used")
    if len(torch.unique(loaded["train"][1])) < 2:
        raise DataError(f"{source}: fewer than two of {len(classes)} classes are left for training")


def _counter(progress: Progress | None, total: int) -> Callable[[int], None]:
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        if progress:
            progress(done, total)

    return advance


def _fingerprint(classes: tuple[str, ...], splits: Mapping[str, Split]) -> str:
    digest = hashlib.sha256(repr(classes).encode())
    for name, split in splits.items():
        digest.update(f"{name} {tuple(split.images.shape)} {split.images.dtype}".encode())
        digest.update(split.labels.numpy().data)
        digest.update(split.images.numpy().data)
    return digest.hexdigest()

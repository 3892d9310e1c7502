"""What every source of images answers, and what happens to images that cannot be used."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from archfront.space.errors import ArchfrontError

IntArray = NDArray[np.int64]
Size = tuple[int, int]
"""(height, width) in pixels."""

Advance = Callable[[int], None]
"""Told how many more images are done."""


class DataError(ArchfrontError, ValueError):
    """Data that cannot be used: names the file or row, what is wrong with it, and what would work."""


@dataclass
class Faults:
    """What is wrong with single images: the first fault is an error, or, with `skip`, all of them are collected."""

    skip: bool = False
    found: list[str] = field(default_factory=list)

    def add(self, where: str, why: str) -> None:
        """Refuse the image at `where`."""
        if not self.skip:
            raise DataError(f"{where}: {why}. skip_bad leaves such data out and reports it")
        self.found.append(f"{where}: {why}")


@dataclass(frozen=True)
class Form:
    """What every image of a data set looks like once loaded.

    Args:
        channels: 1 for grey, 3 for colour; arrays may have any number.
        size: height and width.
        resize: whether images of other sizes are resized; otherwise they are faults.
        like: where an image of this size stands, for messages.
    """

    channels: int
    size: Size
    resize: bool
    like: str


class Listing(ABC):
    """The labelled images of one part of a source; labels are known, images are loaded when asked for."""

    labels: IntArray

    def __len__(self) -> int:
        return len(self.labels)

    @abstractmethod
    def where(self, row: int) -> str:
        """Names one image in messages: its path, or its file and row (counted from 0)."""

    @abstractmethod
    def form(self, rows: IntArray, channels: int | None, size: Size | None) -> Form:
        """What the images at `rows` have in common, where `channels` and `size` leave it open."""

    @abstractmethod
    def load(self, rows: IntArray, form: Form, faults: Faults, advance: Advance) -> tuple[Tensor, IntArray]:
        """The images at `rows` (rising) as (N, C, H, W), uint8 or float32, and the rows without faults."""


@dataclass(frozen=True)
class Source:
    """What was found at a path.

    Args:
        name: short name for titles.
        layout: which layout was recognised.
        classes: names of the classes by label; None where the source has none, then labels name themselves.
        parts: listings by "train", "validation", "test"; "train" is always there.
        notes: what was left out while listing.
    """

    name: str
    layout: str
    classes: tuple[str, ...] | None
    parts: dict[str, Listing]
    notes: tuple[str, ...] = ()


SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}
"""Names under which sources keep their splits, in any case."""


def centre_box(height: int, width: int, size: Size) -> tuple[int, int, int, int]:
    """The largest part in the centre of an image with the aspect ratio of `size`: (top, left, bottom, right)."""
    scale = min(height / size[0], width / size[1])
    tall, wide = max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
    top, left = (height - tall) // 2, (width - wide) // 2
    return top, left, top + tall, left + wide


def integer_labels(labels: Any, where: str) -> IntArray:
    """`labels` as one integer an image; (N, 1) is taken as (N,).

    Raises:
        DataError: another shape or type.
    """
    array = np.asarray(labels)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise DataError(f"{where}: expected one integer label an image, got an array of shape {array.shape}")
    if not np.issubdtype(array.dtype, np.integer):
        raise DataError(f"{where}: labels must be integers that count from 0, got {array.dtype}")
    return array.astype(np.int64)

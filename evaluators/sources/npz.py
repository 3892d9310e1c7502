"""`.npz` files of arrays, as `numpy.savez` writes them; nothing in them is unpickled.

Arrays are found by name: `x` and `y` for one set of images, or one pair a split: `x_train` and `y_train`, also spelled
`train_x`, `train_images` and `train_labels`, likewise for val/valid/validation and test.
"""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .arrays import Arrays
from .listing import SPLIT_NAMES, DataError, Listing, Source

_PAIRS = (("x", "y"), ("images", "labels"), ("data", "labels"))


def read_npz(path: Path, channels: int | None) -> Source:
    """List the arrays in an `.npz` file.

    Raises:
        DataError: an unreadable file, arrays of objects, names that are not understood.
    """
    parts: dict[str, Listing] = {}
    try:
        with np.load(path, allow_pickle=False) as arrays:
            for split, images, labels in _pairs(arrays.files):
                if split in parts:
                    raise DataError(f"{path}: two pairs of arrays are the {split} split; the second is {images!r}")
                parts[split] = Arrays(_read(arrays, images), _read(arrays, labels), f"{path} {images}", channels)
            found = ", ".join(arrays.files) or "nothing"
    except DataError:
        raise
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path}: cannot be read as .npz without unpickling: {error}") from None
    if "train" not in parts:
        raise DataError(f"{path}: expected arrays x and y, or x_train and y_train (and x_test, y_test), found {found}")
    return Source(path.stem, "npz", None, parts)


def _read(arrays: Any, name: str) -> NDArray[Any]:
    array: NDArray[Any] = arrays[name]
    return array


def _pairs(names: list[str]) -> list[tuple[str, str, str]]:
    """(split, name of the images, name of the labels) of every pair of arrays."""
    found = [("train", x, y) for x, y in _PAIRS if x in names and y in names]
    for word, split in SPLIT_NAMES.items():
        spelled = [pair for x, y in _PAIRS for pair in ((f"{x}_{word}", f"{y}_{word}"), (f"{word}_{x}", f"{word}_{y}"))]
        found += [(split, x, y) for x, y in spelled if x in names and y in names]
    return found

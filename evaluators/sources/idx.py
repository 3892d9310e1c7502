"""IDX files, the layout in which MNIST is distributed: `train-images-idx3-ubyte[.gz]` and its companions.

A file is: two zero bytes, the type of the items (8 for unsigned bytes), the number of dimensions, each dimension as a
big-endian 32-bit integer, then the items (LeCun, Cortes & Burges, 1998, The MNIST database of handwritten digits).
"""

from __future__ import annotations

import gzip
import re
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .arrays import Arrays
from .listing import DataError, Listing, Source

_FILE = re.compile(r".*(?P<split>train|t10k|test)-(?P<what>images|labels)[-.]idx\d-ubyte(\.gz)?", re.IGNORECASE)


def is_idx(path: Path) -> bool:
    """Whether a file is named as the training images of an IDX data set."""
    match = _FILE.fullmatch(path.name)
    return bool(match and match["split"] == "train" and match["what"] == "images")


def read_idx_folder(root: Path) -> Source:
    """List a folder with training images and labels, and test images and labels where they are.

    Raises:
        DataError: unreadable or truncated files, images without labels, several data sets in one folder.
    """
    found: dict[tuple[str, str], Path] = {}
    for path in sorted(root.iterdir()):
        match = _FILE.fullmatch(path.name)
        if match:
            key = ("train" if match["split"].lower() == "train" else "test", match["what"].lower())
            if key in found:
                raise DataError(f"{path}: {found[key].name} holds {' '.join(key)} too; keep one data set in a folder")
            found[key] = path
    parts: dict[str, Listing] = {}
    for split, what in found:
        if what == "images":
            labels = found.get((split, "labels"))
            if labels is None:
                raise DataError(f"{found[split, what]}: its file of labels is missing")
            parts[split] = Arrays(read_idx(found[split, what]), read_idx(labels), str(found[split, what]))
    return Source(root.resolve().name, "IDX", None, parts)


def read_idx(path: Path) -> NDArray[Any]:
    """The array of unsigned bytes in an IDX file, which may be compressed by gzip.

    Raises:
        DataError: unreadable, another type of items, or a length other than the header says.
    """
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read: {error}") from None
    if len(data) < 4 or data[:3] != b"\x00\x00\x08":
        raise DataError(f"{path}: is no IDX file of unsigned bytes (starts with {data[:4].hex(' ') or 'nothing'})")
    header = 4 + 4 * data[3]
    if len(data) < header:
        raise DataError(f"{path}: ends inside its header")
    shape = struct.unpack(f">{data[3]}I", data[4:header])
    expected = int(np.prod(shape, dtype=object))
    if len(data) - header != expected:
        raise DataError(f"{path}: its header says {expected} bytes of shape {shape}, it holds {len(data) - header}")
    return np.frombuffer(data, np.uint8, offset=header).reshape(shape)

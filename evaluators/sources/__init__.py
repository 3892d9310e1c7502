"""Where images come from: one file a layout, recognised by what stands at the path."""

from __future__ import annotations

import os
from pathlib import Path

from .arrays import digits
from .encoded import SUFFIXES
from .folder import read_folder
from .idx import is_idx, read_idx_folder
from .listing import DataError, Faults, Source
from .npz import read_npz
from .table import read_parquet

LAYOUTS = """  digits                                       scikit-learn's handwritten digits, built in
  FOLDER/CLASS/*.png                           one folder a class (png, jpg, webp, bmp, gif, tif, ppm)
  FOLDER/{train,validation,test}/CLASS/*.png   the same, split
  FILE.parquet, FOLDER/train*.parquet          encoded images {bytes, path} with integer labels
  FILE.npz                                     arrays x and y, or x_train, y_train, x_test, y_test
  FOLDER/train-images-idx3-ubyte[.gz]          IDX files as MNIST has them"""


def open_source(source: str, faults: Faults, channels: int | None = None) -> Source:
    """List what stands at `source`: "digits", or a path to one of `LAYOUTS`.

    Raises:
        DataError: nothing there, no layout recognised, or a fault inside it.
    """
    if source == "digits":
        return Source("digits", "built-in digits", None, {"train": digits()})
    path = Path(source).expanduser()
    if not path.exists():
        raise DataError(f"{source}: no such file or folder. What is read:\n{LAYOUTS}")
    kind = _kind_of_folder(path) if path.is_dir() else path.suffix.lower()
    if kind == ".parquet":
        return read_parquet(path)
    if kind == ".npz":
        return read_npz(path, channels)
    if kind == "idx":
        return read_idx_folder(path)
    if kind == "images":
        return read_folder(path, faults)
    raise DataError(f"{source}: no known layout of images; found {_contents(path)}. What is read:\n{LAYOUTS}")


def _kind_of_folder(root: Path) -> str:
    """The kind of the first file of a known kind, from the top of the folder downwards."""
    for parent, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(parent, name)
            if path.suffix.lower() == ".parquet":
                return ".parquet"
            if is_idx(path) and path.parent == root:
                return "idx"
            if path.suffix.lower() in SUFFIXES and path.parent != root:
                return "images"
    return ""


def _contents(path: Path) -> str:
    if path.is_file():
        return f"a file ending in {path.suffix!r}" if path.suffix else "a file without a suffix"
    names = sorted(f"{entry.name}/" if entry.is_dir() else entry.name for entry in path.iterdir())
    shown = ", ".join(names[:6])
    return f"{shown} and {len(names) - 6} more" if len(names) > 6 else shown or "an empty folder"

"""Image folders: `root/class/*.png`, or `root/{train,validation,test}/class/*.png`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from .encoded import SUFFIXES, Encoded
from .listing import SPLIT_NAMES, DataError, Faults, IntArray, Listing, Source


class Files(Encoded):
    """One file an image."""

    def __init__(self, paths: list[Path], labels: list[int]) -> None:
        self.paths = paths
        self.labels = np.array(labels, np.int64)

    def where(self, row: int) -> str:
        return str(self.paths[row])

    def fetch(self, rows: IntArray) -> Iterator[Path]:
        return (self.paths[row] for row in rows)


def read_folder(root: Path, faults: Faults) -> Source:
    """List an image folder. Classes are the folders of the training split, in alphabetical order.

    A folder `train` beside others makes them splits. Images may stand deeper inside a class folder. Hidden files and
    folders are passed over; other files that are no images stand in the notes.

    Raises:
        DataError: an empty class folder, a class that only another split has, a split without training data.
    """
    splits = _split_folders(root)
    notes: list[str] = []
    found = {split: _images_by_class(folder, notes) for split, folder in splits.items()}
    for name in [name for name, paths in found["train"].items() if not paths]:
        faults.add(str(splits["train"] / name), "is a class folder without images")
        del found["train"][name]
    classes = tuple(found["train"])
    parts: dict[str, Listing] = {}
    for split, by_class in found.items():
        for name in [name for name in by_class if name not in classes]:
            faults.add(str(splits[split] / name), f"is no class of {splits['train']}")
            del by_class[name]
        pairs = [(path, classes.index(name)) for name, paths in by_class.items() for path in paths]
        parts[split] = Files([path for path, _ in pairs], [label for _, label in pairs])
    return Source(root.resolve().name, "image folder", classes, parts, tuple(notes))


def _split_folders(root: Path) -> dict[str, Path]:
    """The folder of each split; the root itself is "train" where it holds classes."""
    folders = _subfolders(root)
    named = [folder for folder in folders if folder.name.lower() in SPLIT_NAMES]
    if not named:
        return {"train": root}
    splits: dict[str, Path] = {}
    for folder in folders:
        split = SPLIT_NAMES.get(folder.name.lower())
        if split is None:
            raise DataError(f"{folder}: stands beside {named[0].name!r} and is no split (train, validation, test)")
        if split in splits:
            raise DataError(f"{root}: both {splits[split].name!r} and {folder.name!r} are the {split} split; keep one")
        splits[split] = folder
    if "train" not in splits:
        raise DataError(f"{root}: has {named[0].name!r} but no folder 'train'")
    return splits


def _subfolders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _images_by_class(folder: Path, notes: list[str]) -> dict[str, list[Path]]:
    images = {}
    for one in _subfolders(folder):
        files = sorted(_files(one))
        images[one.name] = [path for path in files if path.suffix.lower() in SUFFIXES]
        notes += [f"{path}: is no image" for path in files if path.suffix.lower() not in SUFFIXES]
    loose = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file())
    notes += [f"{path}: stands in no class folder" for path in loose]
    return images


def _files(folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(parent, name) for name in names if not name.startswith("."))

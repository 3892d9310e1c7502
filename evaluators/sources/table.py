"""Parquet with encoded images, one row an image: the layout of Hugging Face exports.

The image column is a struct {bytes, path} or plain binary; labels are an integer column called `label` (or `labels`,
or the only integer column). The split is taken from the file's name (`train-00000-of-00001.parquet`, `test.parquet`)
or its folder's (`train/0000.parquet`). Class names come from the schema's metadata: the `huggingface` entry, or
`classes` with the names separated by commas.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from .encoded import Encoded, Payload
from .listing import SPLIT_NAMES, DataError, IntArray, Source

_BATCH = 1024


class Rows(Encoded):
    """The rows of parquet files, one after the other. A missing label reads as -1."""

    def __init__(self, files: list[Path]) -> None:
        import pyarrow as pa

        self.files = files
        labels, self.classes = [], None
        for path in files:
            try:
                with _open(path) as file:
                    self.image, label = _columns(path, file.schema_arrow)
                    self.classes = self.classes or _class_names(file.schema_arrow.metadata or {}, label)
                    labels.append(file.read(columns=[label]).column(0).cast(pa.int64()).fill_null(-1).to_numpy())
            except (pa.ArrowException, OSError) as error:
                raise DataError(f"{path}: cannot be read as parquet: {error}") from None
        self.labels: IntArray = np.concatenate(labels)
        self._starts = np.cumsum([0, *map(len, labels)])

    def where(self, row: int) -> str:
        file = int(np.searchsorted(self._starts, row, "right")) - 1
        return f"{self.files[file]} row {row - self._starts[file]}"

    def fetch(self, rows: IntArray) -> Iterator[Payload]:
        for path, start, stop in zip(self.files, self._starts, self._starts[1:], strict=False):
            inside = rows[(rows >= start) & (rows < stop)] - start
            if len(inside):
                yield from _payloads(path, inside)


def read_parquet(path: Path) -> Source:
    """List a parquet file, or all parquet files below a folder.

    Raises:
        DataError: unreadable files, no column of images or labels, files whose split cannot be told.
    """
    files = [path] if path.is_file() else sorted(path.rglob("*.parquet"))
    by_split: dict[str, list[Path]] = {}
    for file in files:
        by_split.setdefault(_split_of(file, path), []).append(file)
    if path.is_file() or set(by_split) == {""}:
        by_split = {"train": files}
    if "" in by_split:
        raise DataError(
            f"{by_split[''][0]}: neither its name nor its folder says train, validation or test, as others do"
        )
    parts = {split: Rows(group) for split, group in by_split.items()}
    if "train" not in parts:
        raise DataError(f"{path}: has {', '.join(parts)} but no training split (train*.parquet)")
    name = path.stem if path.is_file() else path.resolve().name
    return Source(name, "parquet", parts["train"].classes, {**parts})


def _split_of(file: Path, root: Path) -> str:
    """The split that a file belongs to, by the first word of its name or the nearest folder that names one, or ""."""
    folders = [] if file == root else reversed(file.relative_to(root).parts[:-1])
    for word in (re.split(r"[-_.]", file.name)[0], *folders):
        if word.lower() in SPLIT_NAMES:
            return SPLIT_NAMES[word.lower()]
    return ""


def _open(path: Path) -> Any:
    from pyarrow import parquet

    return parquet.ParquetFile(path)


def _columns(path: Path, schema: Any) -> tuple[str, str]:
    """The names of the columns of images and of labels."""
    images = [field.name for field in schema if _is_image(field.type)]
    images = [name for name in images if name in ("image", "img")] or images
    if len(images) != 1:
        raise DataError(
            f"{path}: expected one column of encoded images (struct of bytes and path, or binary), "
            f"found {len(images)} among {_listed(schema)}"
        )
    return images[0], _label_column(path, schema)


def _label_column(path: Path, schema: Any) -> str:
    from pyarrow import types

    named = [name for name in ("label", "labels") if name in schema.names]
    whole = [field.name for field in schema if types.is_integer(field.type)]
    name = named[0] if named else whole[0] if len(whole) == 1 else None
    if name is None:
        raise DataError(f"{path}: expected an integer column 'label' among {_listed(schema)}; rename the one to learn")
    if name not in whole:
        raise DataError(
            f"{path}: labels must be integers that count from 0, column {name!r} is {schema.field(name).type}"
        )
    return name


def _listed(schema: Any) -> str:
    return ", ".join(f"{field.name} ({field.type})" for field in schema)


def _is_image(kind: Any) -> bool:
    from pyarrow import types

    if types.is_struct(kind):
        return any(field.name == "bytes" and _is_image(field.type) for field in kind.fields)
    return bool(types.is_binary(kind) or types.is_large_binary(kind))


def _class_names(metadata: dict[bytes, bytes], label: str) -> tuple[str, ...] | None:
    if b"classes" in metadata:
        return tuple(metadata[b"classes"].decode().split(","))
    try:
        feature = json.loads(metadata.get(b"huggingface", b"{}"))["info"]["features"][label]
    except (ValueError, KeyError, TypeError):
        return None
    names = feature.get("names") if isinstance(feature, dict) else None
    return tuple(map(str, names)) if names else None


def _payloads(path: Path, rows: IntArray) -> Iterator[Payload]:
    """The image column at `rows` (rising, counted in this file), reading only the row groups that hold one."""
    import pyarrow as pa

    try:
        with _open(path) as file:
            image, _ = _columns(path, file.schema_arrow)
            start = 0
            for group in range(file.num_row_groups):
                stop = start + file.metadata.row_group(group).num_rows
                if np.any((rows >= start) & (rows < stop)):
                    for batch in file.iter_batches(_BATCH, row_groups=[group], columns=[image]):
                        inside = rows[(rows >= start) & (rows < start + len(batch))] - start
                        yield from map(_bytes, batch.column(0).take(pa.array(inside)).to_pylist())
                        start += len(batch)
                start = stop
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: cannot be read as parquet: {error}") from None


def _bytes(value: Any) -> bytes | None:
    found: bytes | None = value["bytes"] if isinstance(value, dict) else value
    return found

"""Files that are either the old ones or the new ones, whatever happens while they are written."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from pathlib import Path

from .errors import ArchfrontError


class StorageError(ArchfrontError):
    """A file could not be written; what stood there before is untouched."""


def replace_file(path: str | Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a temporary file beside `path`, make sure it is on disk, then put it in place of `path`.

    Raises:
        StorageError: the disk is full or the folder cannot be written; the old file, if any, is kept.
    """
    path = Path(path)
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
        fresh.touch(exist_ok=False)  # with the rights that any new file has here
        temporary = fresh
        write(temporary)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror or error}; what was there before is kept") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Write a text file through `replace_file`."""
    replace_file(path, lambda temporary: _write(temporary, text.encode()))


def write_bytes(path: str | Path, data: bytes) -> None:
    """Write a binary file through `replace_file`."""
    replace_file(path, lambda temporary: _write(temporary, data))


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def _sync_folder(folder: Path) -> None:
    """Make a rename in `folder` durable, where the system can."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:  # pragma: no cover - systems that cannot open folders rename durably by themselves
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

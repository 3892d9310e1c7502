"""Files are replaced as a whole or not at all, with the rights that the system gives to new files."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from archfront.space.files import StorageError, replace_file, write_bytes, write_text


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_rights_are_those_that_the_system_gives_to_new_files(tmp_path: Path, mask: int, mode: int) -> None:
    file = tmp_path / "text"
    with umask(mask):
        write_text(file, "some")
    assert stat.S_IMODE(file.stat().st_mode) == mode


def test_folders_are_made_and_nothing_else_is_left(tmp_path: Path) -> None:
    file = tmp_path / "a" / "b" / "data"
    write_bytes(file, b"one")
    write_bytes(file, b"two")
    assert file.read_bytes() == b"two"
    assert list(file.parent.iterdir()) == [file]


def test_whatever_goes_wrong_the_old_file_is_kept_and_nothing_else_is_left(tmp_path: Path) -> None:
    file = tmp_path / "text"
    file.write_text("old")

    def fail(path: Path) -> None:
        path.write_text("half of it")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        replace_file(file, fail)
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"cannot write .*file/text: .*what was there before is kept"):
        write_text(tmp_path / "file" / "text", "some")

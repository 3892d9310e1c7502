"""Where trials are stored: a journal in the study's folder, or any storage of Optuna.

A journal (one line of JSON an event, appended) takes about a millisecond a trial however many there are; SQLite as
Optuna uses it takes thirty to sixty. Both hold the same ordinary Optuna study.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

from .study import Study, StudyError

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

SCHEME = "journal:"
"""URLs of journals: `journal:/path/to/file`."""

EVENT = b'{"op_code":'
"""How every line of a journal begins."""


def storage_url(study: Study) -> str:
    """The storage of a study: the one that its configuration names, or the journal in its folder."""
    return study.config.storage or f"{SCHEME}{study.path / 'study.journal'}"


def stored_name(study: Study) -> str:
    """The name of a study's trials in its storage: that of its folder when the first of them came, whatever it is now.

    Early studies did not keep it; there it is the name of the one study in their journal.
    """
    kept = study.facts.get("stored_as")
    return str(kept or _only_name(storage_url(study)) or study.path.absolute().name)


def _only_name(url: str) -> str | None:
    """The name of the study in a journal that holds exactly one."""
    if not url.startswith(SCHEME) or not exists(url):
        return None
    import optuna

    names = optuna.study.get_all_study_names(open_storage(url, write=False))
    return names[0] if len(names) == 1 else None


def exists(url: str) -> bool:
    """Whether there may be something at a URL; of servers that is not known before they are asked."""
    for scheme in (SCHEME, "sqlite:///"):
        if url.startswith(scheme):
            return Path(url.removeprefix(scheme)).exists()
    return True


def open_storage(url: str, write: bool = True) -> BaseStorage:
    """The storage at a URL of Optuna, or of a journal; made where there is none, if it is to be written to.

    Raises:
        StudyError: the journal is damaged.
    """
    import optuna
    from optuna.storages.journal import JournalFileBackend

    if url.startswith(SCHEME):
        file = url.removeprefix(SCHEME)
        lock = SystemLock(file)
        mend(Path(file), lock, write)
        try:
            return optuna.storages.JournalStorage(JournalFileBackend(file, lock_obj=lock))  # type: ignore[arg-type]
        except (KeyError, ValueError) as error:
            raise StudyError(f"{file} is no journal of Optuna, or damaged: {error!r}") from None
    return optuna.storages.RDBStorage(url, skip_table_creation=not write)


@contextmanager
def explained(url: str, doing: str) -> Iterator[None]:
    """Turn whatever goes wrong with a storage into one sentence.

    Raises:
        StudyError: `cannot <doing> <url>: why`.
    """
    import optuna
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except OSError as error:
        raise StudyError(f"cannot {doing} {url}: {error.strerror or error}") from None
    except (SQLAlchemyError, optuna.exceptions.OptunaError, ImportError) as error:
        raise StudyError(f"cannot {doing} {url}: {str(error).strip().splitlines()[0]}") from None


class SystemLock:
    """A lock on a journal, as Optuna wants it, that the system releases when its holder dies, however it dies."""

    def __init__(self, file: str) -> None:
        self._path = f"{file}.lock"
        self._held: IO[str] | None = None

    def acquire(self) -> bool:
        """Wait for the lock."""
        self._held = Path(self._path).open("a")  # noqa: SIM115 - closed by release
        fcntl.flock(self._held, fcntl.LOCK_EX)
        return True

    def release(self) -> None:
        """Let the next one in."""
        if self._held is not None:
            self._held.close()
            self._held = None


def mend(journal: Path, lock: SystemLock, write: bool) -> None:
    """Cut off a last line that was only written in part: the disk was full, or the power failed.

    Args:
        write: False for a reader, who leaves the line alone: somebody may be writing it.

    Raises:
        StudyError: the file ends in something that no journal holds.
    """
    if not journal.exists():
        return
    lock.acquire()
    try:
        with journal.open("rb+" if write else "rb") as file:
            end = file.seek(0, os.SEEK_END)
            tail = _last_line(file, end)
            if not (EVENT.startswith(tail) or tail.startswith(EVENT)):
                raise StudyError(f"{journal} is no journal of Optuna, or damaged: it ends in {tail[:30]!r}")
            if write and tail and not tail.endswith(b"\n"):
                file.truncate(end - len(tail))
    finally:
        lock.release()


def _last_line(file: IO[bytes], end: int) -> bytes:
    size = min(end, 1 << 12)
    while True:
        file.seek(end - size)
        tail = file.read(size)
        at = tail.rfind(b"\n", 0, -1)
        if at >= 0 or size == end:
            return tail[at + 1 :]
        size = min(end, 4 * size)

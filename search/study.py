"""A study: one search, a directory on disk. The directory is the only state; the same command resumes from it."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import IO, Any

from archfront.space.architecture import Architecture
from archfront.space.errors import ArchfrontError
from archfront.space.files import StorageError, write_text

from .config import StudyConfig, dump, load
from .spaces import import_blocks


class StudyError(ArchfrontError):
    """A study directory that cannot be used: damaged, busy, or made for something else."""


RAISABLE = (
    ("backend",),
    ("cluster", "address"),
    ("cluster", "workers"),
    ("cluster", "ahead"),
    ("cluster", "gpus"),
    ("supernet", "processes"),
    ("search", "trials"),
    ("search", "minutes"),
    ("search", "patience"),
    ("final", "members"),
    ("final", "references"),
    ("latency", "final_seconds"),
)
"""Settings that may differ when a study is resumed: more of the same, or elsewhere."""

PREPARED = ("study.toml", "facts.json", "about.json", "latency.json", "space.json")
"""What a search writes before it trains or evaluates anything; hidden files, which locks are, come besides."""

MEASURED_FOR = ("space", "data", "device", "latency", "seed")
"""Settings that a latency table is measured for. The budget, which calibration networks keep where it leaves some, is
not among them: who loosens one that was impossible counts on the latencies that the refusal named."""

DERIVED = ("results.parquet", "results.csv", "report.html")
"""What is made of the rest at any time."""


@dataclass(frozen=True)
class Study:
    """The files of a study.

    study.toml: the resolved configuration. facts.json: what it was resolved on (data fingerprint, space, profile).
    study.journal: the trials. supernet/: checkpoints. final.json: the front. results.parquet: one row a trial.
    """

    path: Path

    @property
    def config_file(self) -> Path:
        return self.path / "study.toml"

    @property
    def facts_file(self) -> Path:
        return self.path / "facts.json"

    @property
    def results_file(self) -> Path:
        return self.path / "results.parquet"

    @property
    def report_file(self) -> Path:
        return self.path / "report.html"

    @property
    def table_file(self) -> Path:
        return self.path / "latency.json"

    @property
    def final_file(self) -> Path:
        return self.path / "final.json"

    @property
    def audit_file(self) -> Path:
        return self.path / "audit.json"

    @property
    def checkpoint(self) -> Path:
        return self.path / "supernet" / "last.safetensors"

    @property
    def exports(self) -> Path:
        return self.path / "exports"

    def weights(self, architecture: Architecture) -> Path:
        """The checkpoint of a fine-tuned member of the front."""
        return self.path / "final" / f"{architecture.digest}.safetensors"

    @staticmethod
    def open(path: str | Path) -> Study:
        """An existing study."""
        study = Study(Path(path))
        if study.of_table:
            raise StudyError(
                f"{path} holds the search of a table, which has no networks; its report is {study.report_file}, its rows "
                f"are in {study.results_file}, and archfront search --evaluator table:FILE writes both again"
            )
        if not study.config_file.is_file():
            raise StudyError(f"{path} is no study: it has no study.toml; archfront search --name ... makes one")
        _ = study.config  # imports the blocks that the files of the study name
        return study

    @property
    def config(self) -> StudyConfig:
        """The configuration that the study was started with.

        Where its space stands in a Python file, that file is run: what the study holds may name blocks defined there.
        """
        config = load(self.config_file)
        import_blocks(config.space)
        return config

    @property
    def of_table(self) -> bool:
        """Whether this is the search of a table of finished experiments, which has facts and no configuration."""
        return not self.config_file.exists() and "table" in self.facts

    @property
    def begun(self) -> bool:
        """Whether the folder holds more than a search has before anything is trained or evaluated.

        Until then settings and facts may still change, so that a first attempt that was refused does not spoil the name.
        """
        files = [file.name for file in self.path.iterdir()] if self.path.is_dir() else []
        return "stored_as" in self.facts or any(name[0] != "." and name not in (*PREPARED, *DERIVED) for name in files)

    def settle(self, config: StudyConfig) -> StudyConfig:
        """Write the configuration of a new study, or check that of a resumed one.

        A study that has not `begun` takes other settings; its latency table is dropped where it was measured for the old.

        Raises:
            StudyError: the study was begun with other settings than `config` where they matter, or searches a table.
        """
        if self.of_table:
            raise StudyError(f"{self.path} holds the search of a table; choose another name for one of networks")
        if self.config_file.exists():
            different = _differences(load(self.config_file).model_dump(), config.model_dump())
            blocking = {keys: pair for keys, pair in different.items() if keys not in RAISABLE}
            if blocking and not self.begun:
                if any(keys[0] in MEASURED_FOR for keys in blocking):
                    self.table_file.unlink(missing_ok=True)
            elif blocking:
                listed = "; ".join(
                    f"{'.'.join(keys)} was {old!r}, now {new!r}" for keys, (old, new) in blocking.items()
                )
                raise StudyError(
                    f"{self.path} was started with other settings: {listed}. Resume with the same ones, or choose another "
                    "name"
                )
        write_text(self.config_file, dump(config))
        return config

    def remember(self, **facts: Any) -> None:
        """Keep what the study was resolved on, or check that it is unchanged; one that has not `begun` may change.

        Raises:
            StudyError: a fact differs from that of the run before.
        """
        known, found = self.facts, json.loads(json.dumps(facts))
        changed = [name for name in found if name in known and known[name] != found[name]]
        if changed and self.begun:
            name = changed[0]
            raise StudyError(
                f"{self.path} was started on another {name.replace('_', ' ')}: it was {_short(known[name])}, now "
                f"{_short(found[name])}; choose another study name"
            )
        if changed:
            self.table_file.unlink(missing_ok=True)
        write_text(self.facts_file, json.dumps(known | found, indent=1) + "\n")

    @property
    def facts(self) -> dict[str, Any]:
        """What `remember` kept."""
        return read_json(self.facts_file) if self.facts_file.exists() else {}

    @contextmanager
    def locked(self, waiting: Callable[[str], None] | None = None) -> Iterator[None]:
        """Hold the study for this process; the system releases it however the process ends.

        Args:
            waiting: is told whom this process has to wait for, if anyone; without it, it does not wait.

        Raises:
            StudyError: another process holds the study, and this one is not to wait.
        """
        with self._file(".lock") as file:
            if not _taken(file):
                file.seek(0)
                held = f"{self.path} is in use by process {file.read().strip() or '?'}"
                if waiting is None:
                    raise StudyError(f"{held}; wait for it, or stop it")
                waiting(f"{held}; waiting until it can be joined (Ctrl-C leaves it alone)")
                fcntl.flock(file, fcntl.LOCK_EX)
            _sign(file)
            yield

    @contextmanager
    def searcher(self) -> Iterator[int]:
        """The lowest number, from 0, that no other process exploring this study has; it is free again after this."""
        for number in count():
            with self._file(f".searcher-{number}") as file:
                if _taken(file):
                    _sign(file)
                    yield number
                    return

    @contextmanager
    def _file(self, name: str) -> Iterator[IO[str]]:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            file = (self.path / name).open("a+")
        except OSError as error:
            raise StorageError(f"cannot use the folder {self.path}: {error.strerror}") from None
        with file:
            yield file


def _taken(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _sign(file: IO[str]) -> None:
    file.truncate(0)
    file.write(str(os.getpid()))
    file.flush()


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object of a study.

    Raises:
        StudyError: the file is damaged.
    """
    try:
        data = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise StudyError(f"{path} cannot be read ({error}); delete it to compute that part again") from None
    if not isinstance(data, dict):
        raise StudyError(f"{path} does not hold an object; delete it to compute that part again")
    return data


def _differences(
    old: Mapping[str, Any], new: Mapping[str, Any], keys: tuple[str, ...] = ()
) -> dict[tuple[str, ...], Any]:
    found: dict[tuple[str, ...], Any] = {}
    for name in {**old, **new}:
        a, b = old.get(name), new.get(name)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            found |= _differences(a, b, (*keys, name))
        elif (list(a) if isinstance(a, tuple) else a) != (list(b) if isinstance(b, tuple) else b):
            found[(*keys, name)] = (a, b)
    return found


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) < 80 else f"{text[:77]}..."


__all__ = ["Study", "StudyError", "read_json"]

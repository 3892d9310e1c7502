"""Measuring on a device at the end of a wire, whatever the wire: the worker file is copied there and does all the work.

What is copied is named by its SHA-256, so nothing is copied twice; a process of measuring belongs to the device, so a
cut connection only means asking for it again. What comes back is checked by `answers`.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import signal
import subprocess
import tempfile
import time
import uuid
import warnings
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from . import answers, worker
from .profile import LatencyError, Profile
from .runtimes import Prepared
from .transport import Launch, Transport, ended, job_of, last_words, time_limit

PAUSES = (1.0, 2.0, 4.0, 8.0, 15.0)
"""Seconds before each attempt to reach a device again that was lost in the middle of something."""

MOST = 1 << 26
"""Bytes of an answer that are read: hundreds of models with thousands of runs each stay far below."""

VENV = "archfront-venv"
"""A virtual environment of this name on the device is used in place of its `python3`."""

SLOWEST = 50_000
"""Bytes a second below which copying is given up."""

T = TypeVar("T")
Files = Mapping[str, Path | bytes]
"""What is copied to a device: a file here, or its content, by the name there."""


class Disconnected(LatencyError):
    """The device is not there, or no longer."""


@dataclass(frozen=True)
class Finished:
    """A command that came to its end: return code and what it printed."""

    code: int
    out: bytes
    err: str


class Remote(Transport):
    """A device that runs a POSIX shell and Python.

    Args:
        address: where it is.
    """

    PLACE: ClassVar[str]
    """Folder on the device that holds a folder a measurement, relative to where `shell` starts, or absolute."""

    HOME: ClassVar[str]
    """Folder in which `VENV` is looked for, with its slash, on the same terms."""

    SHOWN: ClassVar[str] = ""
    """What relative paths are relative to, for people."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.reached = False

    @abstractmethod
    def shell(self, line: str, stdin: Sequence[Path | bytes] = (), limit: float = 60.0) -> Finished:
        """Run a line of shell on the device.

        Raises:
            Disconnected: it cannot be reached, or was lost meanwhile.
            LatencyError: it did not end within `limit` seconds.
        """

    @abstractmethod
    def put(self, files: Files, place: str) -> None:
        """Copy files into the folder `place` on the device, which exists and holds the worker file.

        Raises:
            Disconnected: as `shell`; some of the files may have arrived.
            LatencyError: no room for them.
        """

    @abstractmethod
    def install(self, place: str) -> None:
        """Make the folder `place` on the device and copy the worker file into it.

        Raises:
            Disconnected: as `shell`.
            LatencyError: no room for it, or no right to.
        """

    # ----------------------------------------------------------------- what a transport does

    def probe(self) -> dict[str, Any]:
        place = f"{self.PLACE}/probe-{uuid.uuid4().hex[:12]}"
        self._install(place)
        facts = self._again(lambda: answers.parse(answers.Facts, self.call(place, "probe")))
        self._again(lambda: self.call(place, "clean", place))
        return facts.model_dump()

    def require_runtime(self, package: str, facts: Mapping[str, Any]) -> None:
        if package not in facts["runtimes"]:
            venv, pip = f"{self.SHOWN}{self.HOME}{VENV}", worker.PACKAGES[package][0]
            raise LatencyError(
                f"{self.address} has no {package} for its Python {facts['python']}. There, in a virtual environment "
                f"that is looked for first: `python3 -m venv {venv} && {venv}/bin/pip install {pip}`"
            )

    @contextmanager
    def launcher(self, prepared: Mapping[str, Prepared], profile: Profile, folder: Path) -> Iterator[Launch]:
        models, files = self._models(prepared)
        job = job_of(models, profile)
        place = f"{self.PLACE}/{_digest([job, _sha256(worker_file())])}"
        try:
            self._install(place)
            self._upload(files, place)
            yield lambda plan: self._carry_out(job, plan, place)
        except LatencyError as error:
            if not self.reached:
                raise
            raise LatencyError(
                f"{error}\nWhat was copied and finished stays on {self.address} in {self.SHOWN}{place}: measuring the same "
                "within an hour goes on from there"
            ) from None
        try:
            self._again(lambda: self.call(place, "clean", place))
        except LatencyError as error:
            warnings.warn(
                f"everything is measured, but {self.SHOWN}{place} on {self.address} was not removed: {error}",
                stacklevel=3,
            )

    # ----------------------------------------------------------------- its steps

    def _models(self, prepared: Mapping[str, Prepared]) -> tuple[dict[str, dict[str, Any]], dict[str, Path | bytes]]:
        models, files = dict[str, dict[str, Any]](), dict[str, Path | bytes]()
        for name, each in prepared.items():
            if "file" not in each.model:
                raise LatencyError(
                    f"{name}: the runtime {each.model['kind']!r} needs archfront itself, which is not copied to "
                    "devices; choose one that runs model files, such as onnxruntime"
                )
            file = Path(each.model["file"])
            stored = hashlib.sha256(file.read_bytes()).hexdigest() + file.suffix
            models[name], files[stored] = {**each.model, "file": stored}, file
        return models, files

    def _install(self, place: str) -> None:
        self._again(lambda: self.install(place))

    def _upload(self, files: Files, place: str) -> None:
        """Copy the files that are not on the device yet, or not whole."""

        def attempt() -> None:
            there = answers.parse(answers.Files, self.call(place, "have", place))
            missing = {name: file for name, file in files.items() if there.files.get(name) != _sha256(file)}
            needed = sum(size(file) for file in missing.values())
            if needed > there.free:
                raise LatencyError(
                    f"the disk of {self.address} is full: {needed / 1e3:,.0f} kB to copy, {there.free / 1e3:,.0f} kB free"
                )
            if missing:
                self.put(missing, place)

        self._again(attempt)

    def _carry_out(self, job: Mapping[str, Any], plan: worker.Plan | worker.Endurance, place: str) -> Mapping[str, Any]:
        """Have a plan carried out by a fresh process, or take what it left if it was carried out before."""
        left = {"seconds": None} if isinstance(plan, worker.Plan) else {}  # the time left differs in a second attempt
        key = _digest({**vars(plan), **left})
        limit = time_limit(len(job["models"]), plan)
        content = {**job, "plan": vars(plan), "result": f"{key}.result", "limit": limit}
        files = {f"{key}.job": json.dumps(content).encode()}
        self._again(lambda: self.put(files, place))
        found = self._again(lambda: self.call(place, "run", place, key, limit=limit + 60))
        if "result" in found:
            return answers.times(found["result"], job["models"], plan)
        done = answers.parse(answers.Ended, found)
        if done.code == -signal.SIGALRM:
            what = f"did not end within {limit:.0f} s; give it more time or fewer models"
        else:
            what = "ended without a result" if done.code is None else ended(done.code)
        raise LatencyError(f"the measuring process on {self.address} {what}{last_words(done.log)}")

    def _again(self, attempt: Callable[[], T]) -> T:
        """Do something, and do it again where the device was lost meanwhile, a few times."""
        pauses = iter(PAUSES)
        while True:
            try:
                found = attempt()
                self.reached = True
                return found
            except Disconnected as error:
                if not self.reached:
                    raise
                pause = next(pauses, None)
                if pause is None:
                    raise Disconnected(f"{self.address} was lost on the way and not found again; {error}") from None
                time.sleep(pause)

    # ----------------------------------------------------------------- talking to the worker file

    def call(
        self, place: str, command: str, *arguments: str, stdin: Sequence[Path | bytes] = (), limit: float = 60.0
    ) -> dict[str, Any]:
        """Have the worker file on the device carry out one of its commands.

        Raises:
            Disconnected: as `shell`.
            LatencyError: the device has no Python, its disk is full, or it answers with something else.
        """
        python = shlex.quote(f"{self.HOME}{VENV}/bin/python")
        words = shlex.join([f"{place}/worker.py", command, *arguments])
        line = f'p={python}; test -x "$p" || p=python3; exec "$p" {words}'
        return self._answer(self.shell(f"sh -c {shlex.quote(line)}", stdin, limit))

    def _answer(self, done: Finished) -> dict[str, Any]:
        lines = [line for line in done.out.splitlines() if line.startswith(worker.MARK.encode())]
        if not lines:
            raise self._unanswered(done)
        found = answers.load(lines[-1][len(worker.MARK) :])
        if not isinstance(found, dict):
            raise LatencyError(
                f"the device answered with something else than an object: {answers.first_line(lines[-1])}"
            )
        if "error" in found:
            said = answers.plain(str(found["error"]))
            full = f"the disk of {self.address} is full: " if found.get("full") is True else f"on {self.address}: "
            raise LatencyError(full + said)
        return found

    def _unanswered(self, done: Finished) -> LatencyError:
        if done.code == 127 or re.search(r"python3?: (inaccessible or )?not found", done.err):
            return LatencyError(
                f"{self.address} has no python3: install Python 3.9 or newer there, or a virtual environment in "
                f"{self.SHOWN}{self.HOME}{VENV}"
            )
        if done.out.strip():
            return LatencyError(
                f"{self.address} answered with something else than measurements: {answers.first_line(done.out)!r}"
                f"{last_words(done.err) if done.err.strip() else ''}"
            )
        return LatencyError(f"the worker file on {self.address} failed, code {done.code}{last_words(done.err)}")


def execute(command: Sequence[str], stdin: Sequence[Path | bytes], limit: float) -> Finished:
    """Run a command of this machine that talks to a device.

    Raises:
        LatencyError: it is not installed, does not end in time, or prints without end.
    """
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        for piece in stdin:
            given.write(piece if isinstance(piece, bytes) else piece.read_bytes())
        given.seek(0)
        try:
            process = subprocess.Popen(command, stdin=given, stdout=out, stderr=err)
        except FileNotFoundError:
            raise LatencyError(f"{command[0]} is not installed on this machine") from None
        try:
            code = _wait(process, limit, lambda: os.fstat(out.fileno()).st_size + os.fstat(err.fileno()).st_size)
        finally:
            process.kill()
            process.wait()
        out.seek(0)
        err.seek(0)
        return Finished(code, out.read(), err.read().decode(errors="replace"))


def _wait(process: subprocess.Popen[bytes], limit: float, printed: Callable[[], int]) -> int:
    start = time.monotonic()
    while time.monotonic() - start < limit:
        try:
            return process.wait(timeout=0.5)
        except subprocess.TimeoutExpired:
            if printed() > MOST:
                raise LatencyError(f"the device answered with more than {MOST >> 20} MiB") from None
    raise LatencyError(f"the device did not answer within {limit:.0f} s")


def copying_limit(files: Files) -> float:
    """Seconds within which files have to be copied."""
    return 60 + sum(map(size, files.values())) / SLOWEST


def size(file: Path | bytes) -> int:
    """Bytes of a file or of its content."""
    return len(file) if isinstance(file, bytes) else file.stat().st_size


def worker_file() -> Path:
    """The file that is copied to devices."""
    return Path(worker.__file__).resolve()


def _sha256(file: Path | bytes) -> str:
    return hashlib.sha256(file if isinstance(file, bytes) else file.read_bytes()).hexdigest()


def _digest(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]

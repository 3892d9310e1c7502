"""Transports: how the measuring worker runs on a device, which may be this machine or one at the end of a wire.

with transport("ssh", "pi@board").launcher(prepared, profile, folder) as launch:
    result = launch(Plan(...))  # one fresh process on the device
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from . import answers, worker
from .profile import ENGINES, LatencyError, Profile, TransportName, require_found
from .runtimes import Prepared

Launch = Callable[[worker.Plan | worker.Endurance], Mapping[str, Any]]
"""Carries out a plan in a fresh process on the device and returns what `worker.interleave` or `sustain` did there."""


class Transport(ABC):
    """A way to the device."""

    @abstractmethod
    def probe(self) -> dict[str, Any]:
        """Facts gathered on the device by the worker file, as `worker.probe` lists them.

        Raises:
            LatencyError: the device cannot be reached, or lacks Python.
        """

    @abstractmethod
    def require_runtime(self, package: str, facts: Mapping[str, Any]) -> None:
        """Refuse a device without a runtime, where there is more to say than the profile says when it is described.

        Args:
            package: what brings the runtime, a key of `worker.PACKAGES`.
            facts: as `probe` gives them.

        Raises:
            LatencyError: it is not there; says how to install it.
        """

    @abstractmethod
    def launcher(
        self, prepared: Mapping[str, Prepared], profile: Profile, folder: Path
    ) -> AbstractContextManager[Launch]:
        """A launcher of fresh worker processes, one after the other: side by side they would slow each other down.

        Entering brings the models to the device; leaving removes them there, unless measuring failed.

        Args:
            prepared: the models by name; their files lie on this machine.
            profile: decides threads and cores.
            folder: on this machine, for the job and its result.

        Raises:
            LatencyError: the device cannot be reached, or lacks what the job needs.
        """


def at(profile: Profile, device: Transport | None = None) -> Transport:
    """The transport to the device of a profile, once a probe has shown that it is that device.

    Args:
        profile: says how the device is reached.
        device: another way to it.

    Raises:
        LatencyError: it cannot be reached, or is not what the profile says; names the fields.
    """
    device = device or transport(profile.transport, profile.address)
    facts = device.probe()
    device.require_runtime(ENGINES[profile.runtime].package, facts)
    require_found(profile, facts)
    return device


def transport(kind: TransportName, address: str | None) -> Transport:
    """The transport to a device.

    Args:
        kind: "local", "ssh" or "adb".
        address: for ssh `user@host`, a host of the ssh configuration, or `ssh://user@host:port`; for adb the serial
            number that `adb devices` shows; None for local.

    Raises:
        LatencyError: an address that is missing, superfluous or no address.
    """
    if kind == "local":
        if address is not None:
            raise LatencyError(f"the local device has no address, got {address!r}")
        return Local()
    if not address:
        raise LatencyError(f"a device reached by {kind} needs an address")
    from .adb import Adb
    from .ssh import Ssh

    return {"ssh": Ssh, "adb": Adb}[kind](address)


def job_of(models: Mapping[str, Mapping[str, Any]], profile: Profile) -> dict[str, Any]:
    """What the worker's job says, whatever the plan."""
    return {"models": models, "threads": profile.threads, "affinity": profile.affinity}


def time_limit(models: int, plan: worker.Plan | worker.Endurance) -> float:
    """Seconds after which a process that carries out `plan` is given up: loading, warm-up, rounds, and slack."""
    waiting = plan.cool_seconds if isinstance(plan, worker.Endurance) else 0.0
    return 60 + models + waiting + 3 * plan.seconds


# --------------------------------------------------------------------------- this machine


class Local(Transport):
    """This machine: processes of the Python that runs archfront."""

    def probe(self) -> dict[str, Any]:
        return worker.probe()

    def require_runtime(self, package: str, facts: Mapping[str, Any]) -> None:
        """Here the profile says it all."""

    @contextmanager
    def launcher(self, prepared: Mapping[str, Prepared], profile: Profile, folder: Path) -> Iterator[Launch]:
        models = {name: dict(each.model) for name, each in prepared.items()}

        def launch(plan: worker.Plan | worker.Endurance) -> Mapping[str, Any]:
            job, result = folder / "job.json", folder / "result.json"
            result.unlink(missing_ok=True)
            content = {**job_of(models, profile), "plan": vars(plan), "result": str(result)}
            job.write_text(json.dumps(content), encoding="utf-8")
            # -P: without it the worker's folder, with modules such as profile.py, would hide the standard library's
            command = [sys.executable, "-P", str(Path(worker.__file__).resolve()), str(job)]
            _run(command, limit=time_limit(len(models), plan))
            try:
                text = result.read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                raise LatencyError(f"the measuring process left no readable result ({error})") from None
            return answers.times(answers.load(text), models, plan)

        yield launch


def _run(command: Sequence[str], limit: float) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=limit, check=False)
    except subprocess.TimeoutExpired as error:
        printed = error.stderr.decode(errors="replace") if isinstance(error.stderr, bytes) else error.stderr or ""
        raise LatencyError(
            f"the measuring process did not end within {limit:.0f} s; give it more time or fewer models"
            f"{last_words(printed)}"
        ) from None
    if done.returncode:
        raise LatencyError(f"the measuring process {ended(done.returncode)}{last_words(done.stderr)}")


def ended(code: int) -> str:
    """How a process ended that did not do its work, from its return code as `subprocess` gives it."""
    return f"was killed by {signal.Signals(-code).name}" if code < 0 else "failed"


def last_words(printed: str, lines: int = 30, whose: str = "its last words") -> str:
    """The end of what a process printed, for the end of an error message."""
    last = [answers.plain(line) for line in printed.splitlines() if line.strip()][-lines:]
    return f"; {whose}:\n  " + "\n  ".join(last) if last else ", without a word"

"""What is found out about a candidate, and who finds it out: backends evaluate candidates, one or several at a time."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from archfront.hw_profiles.metrics import Measurement
from archfront.space.architecture import Architecture
from archfront.space.files import StorageError

Evaluate = Callable[[Architecture], Mapping[str, Measurement]]


@dataclass(frozen=True)
class Outcome:
    """What became of a candidate.

    Args:
        measurements: by metric; empty where it failed.
        reason: why it failed; empty where it did not.
        seconds: how long it took.
    """

    measurements: Mapping[str, Measurement]
    reason: str
    seconds: float


def attempt(evaluate: Evaluate, architecture: Architecture) -> Outcome:
    """Evaluate a candidate; whatever goes wrong with it becomes its reason. A full disk is no fault of the candidate.

    Blocks may be anybody's, so they may raise anything.
    """
    start = time.perf_counter()
    try:
        measurements, reason = evaluate(architecture), ""
    except (StorageError, OSError):
        raise
    except Exception as error:
        measurements, reason = {}, f"{type(error).__name__}: {error}"
    return Outcome(measurements, reason, time.perf_counter() - start)


class Backend(ABC):
    """Evaluates candidates. Which ones are under way is known here and nowhere else."""

    @property
    @abstractmethod
    def room(self) -> int:
        """How many more candidates can be taken on now."""

    @property
    @abstractmethod
    def busy(self) -> bool:
        """Whether candidates are under way."""

    @abstractmethod
    def submit(self, architecture: Architecture) -> None:
        """Take a candidate on."""

    @abstractmethod
    def collect(self) -> list[tuple[Architecture, Outcome]]:
        """Wait until some of the candidates under way are done, and give those."""

    def close(self) -> None:  # noqa: B027 - most have nothing to give back
        """Give back whatever the backend holds."""


class Local(Backend):
    """One candidate after the other, in this process.

    Args:
        evaluate: finds out everything about a candidate.
        window: candidates that are taken on before the first of them is evaluated: with as many as a cluster has under
            way, the trials of a search are those that it gives there.
    """

    def __init__(self, evaluate: Evaluate, window: int = 1) -> None:
        self._evaluate = evaluate
        self._window = window
        self._waiting: deque[Architecture] = deque()

    @property
    def room(self) -> int:
        return self._window - len(self._waiting)

    @property
    def busy(self) -> bool:
        return bool(self._waiting)

    def submit(self, architecture: Architecture) -> None:
        self._waiting.append(architecture)

    def collect(self) -> list[tuple[Architecture, Outcome]]:
        architecture = self._waiting.popleft()
        return [(architecture, attempt(self._evaluate, architecture))]

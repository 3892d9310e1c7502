"""Stand-alone accuracy: networks trained from scratch, each kept on disk once it is done."""

from __future__ import annotations

import fcntl
import hashlib
import json
from collections.abc import Container, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch
from torch import nn

from archfront.hw_profiles.metrics import Measurement
from archfront.space.architecture import Architecture
from archfront.space.files import write_text

from .data import Dataset
from .store import SupernetError
from .task import NonFiniteError, Task
from .train import Diverged, Recipe
from .trainer import Trainer


class Rung(NamedTuple):
    """What a training had reached at a milestone, and whether it was to go on."""

    accuracy: Measurement
    goes_on: bool


class Stopping(Protocol):
    """Decides at milestones which trainings go on, and remembers what it decided."""

    @property
    def milestones(self) -> tuple[int, ...]:
        """Epochs, increasing, all before the end."""
        ...

    def rung(self, run: str, epochs: int) -> Rung | None:
        """What was decided about a training; None where nothing was."""
        ...

    def judge(self, architecture: Architecture, run: str, epochs: int, accuracy: Measurement) -> None:
        """Decide, for good, about a training that has come to a milestone."""
        ...


class ToTheEnd:
    """Stops nothing."""

    milestones: tuple[int, ...] = ()

    def rung(self, run: str, epochs: int) -> Rung | None:
        """Nothing is ever decided."""
        return None

    def judge(self, architecture: Architecture, run: str, epochs: int, accuracy: Measurement) -> None:
        """There is no milestone to judge at."""


@dataclass(frozen=True)
class StandAlone:
    """Validation accuracy of networks after training from scratch.

    What was trained with the same recipe on the same images is read back; a training that was interrupted goes on from
    its last checkpoint. Several processes may share the work: each network is trained by one of them.

    Args:
        folder: where the records are kept.
        data: what is trained on, and validated on; the test split is not touched.
        task: what is learned.
        recipe: how.
        stopping: which trainings end early; by default none does.
        keeps_weights: of trainings that came to their end.
    """

    folder: Path
    data: Dataset
    task: Task
    recipe: Recipe
    stopping: Stopping = ToTheEnd()  # noqa: RUF009 - it has no state
    keeps_weights: bool = False

    @cached_property
    def trainer(self) -> Trainer:
        """What trains."""
        device = "cuda" if torch.cuda.is_available() else "cpu"
        return Trainer(self.data.train, self.data.validation, self.task, self.recipe, device)

    @cached_property
    def _records(self) -> Path:
        """The folder of this recipe and these images."""
        text = json.dumps([self.recipe.model_dump(), self.data.fingerprint])
        return self.folder / hashlib.sha256(text.encode()).hexdigest()[:16]

    # ------------------------------------------------------------------ training here

    def accuracy(self, architecture: Architecture, seed: int) -> Measurement:
        """The accuracy with the initial weights and the order of images of a seed; waits where another process trains.

        Raises:
            Diverged: the training did, now or when it was tried before.
        """
        self.train(architecture, seed, wait=True)
        return self.measurements(architecture, seed)["alone_accuracy"]

    def train(self, architecture: Architecture, seed: int, wait: bool = False) -> bool:
        """Train unless that was done; False where another process is at it, and this one is not to wait for it."""
        if self.goal(architecture, seed) is not None:
            with self.claimed(architecture, seed, wait) as mine:
                if not mine:
                    return False
                self._train(architecture, seed)
        self._tidy(architecture, seed)
        return True

    def _train(self, architecture: Architecture, seed: int) -> None:
        self.begin(architecture, seed)
        while (epochs := self.goal(architecture, seed)) is not None:
            try:
                accuracy = self.trainer.advance(architecture, seed, self.checkpoint(architecture, seed), epochs)
            except (Diverged, NonFiniteError) as error:
                self.fail(architecture, seed, str(error))
            else:
                if accuracy is not None:
                    self.keep(architecture, seed, epochs, accuracy)

    # ------------------------------------------------------------------ records, whoever trains

    @contextmanager
    def claimed(self, architecture: Architecture, seed: int, wait: bool = False) -> Iterator[bool]:
        """Whether this process may train a network; while it does, no other may. However it ends, others may then."""
        path = self.checkpoint(architecture, seed).with_suffix(".lock")
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                yield False
                return
            yield True

    def begin(self, architecture: Architecture, seed: int) -> None:
        """Keep that a training begins, so that `begun` finds it."""
        if not self._found(architecture, seed):
            self._write(architecture, seed, {})

    def begun(self, seed: int, known: Container[str]) -> list[Architecture]:
        """What was begun, or done, with a seed, less what another process is at and digests that are known."""
        found = []
        for record in sorted(self._records.glob(f"*-{seed}.json")):
            if record.stem.removesuffix(f"-{seed}") in known:
                continue
            architecture = Architecture.from_dict(_read(record)["architecture"])
            with self.claimed(architecture, seed) as mine:
                if mine:
                    found.append(architecture)
        return found

    def goal(self, architecture: Architecture, seed: int) -> int | None:
        """The epochs up to which to train before the next `keep`; None where the training is over."""
        if OVER & self._found(architecture, seed).keys():
            return None
        for epochs in self.stopping.milestones:
            rung = self.stopping.rung(_name(architecture, seed), epochs)
            if rung is None:
                return epochs
            if not rung.goes_on:
                self._write(architecture, seed, {"accuracy": rung.accuracy.to_dict(), "stopped": epochs})
                return None
        return self.recipe.epochs

    def keep(self, architecture: Architecture, seed: int, epochs: int, accuracy: Measurement) -> None:
        """Keep what a training reached at its goal."""
        if epochs < self.recipe.epochs:
            self.stopping.judge(architecture, _name(architecture, seed), epochs, accuracy)
        else:
            self._write(architecture, seed, {"accuracy": accuracy.to_dict()})

    def fail(self, architecture: Architecture, seed: int, reason: str) -> None:
        """Keep that a training diverged."""
        self._write(architecture, seed, {"reason": reason})

    def measurements(self, architecture: Architecture, seed: int) -> dict[str, Measurement]:
        """`alone_accuracy` of a training that is over, and `stopped_epochs` where it ended before its time.

        Raises:
            Diverged: the training did.
        """
        found = self._found(architecture, seed)
        if "reason" in found:
            raise Diverged(found["reason"])
        measured = {"alone_accuracy": Measurement(**found["accuracy"])}
        if "stopped" in found:
            measured["stopped_epochs"] = Measurement(found["stopped"], "exact")
        return measured

    def network(self, architecture: Architecture, seed: int) -> nn.Module:
        """The network as it was trained; needs `keeps_weights`, and a training that came to its end."""
        file = self.checkpoint(architecture, seed)
        if not file.exists():
            raise SupernetError(f"{file} is gone: the weights of a network that was trained alone")
        return self.trainer.network(architecture, seed, file)

    def checkpoint(self, architecture: Architecture, seed: int) -> Path:
        """Where a training is kept while it is under way, and its weights afterwards."""
        return self._records / "checkpoints" / f"{_name(architecture, seed)}.safetensors"

    def _record(self, architecture: Architecture, seed: int) -> Path:
        return self._records / f"{_name(architecture, seed)}.json"

    def _found(self, architecture: Architecture, seed: int) -> dict[str, Any]:
        """What is known of a training; nothing where it was not begun."""
        record = self._record(architecture, seed)
        return _read(record) if record.exists() else {}

    def _write(self, architecture: Architecture, seed: int, found: dict[str, Any]) -> None:
        record = {"architecture": architecture.to_dict(), **found}
        write_text(self._record(architecture, seed), json.dumps(record) + "\n")
        if found:
            self._tidy(architecture, seed)

    def _tidy(self, architecture: Architecture, seed: int) -> None:
        """Remove what a training that is over needs no longer."""
        ended_early = {"reason", "stopped"} & self._found(architecture, seed).keys()
        kept = self.keeps_weights and not ended_early
        for suffix in (".json", ".lock") if kept else (".safetensors", ".json", ".lock"):
            self.checkpoint(architecture, seed).with_suffix(suffix).unlink(missing_ok=True)


OVER = {"accuracy", "reason"}
"""What the record of a training has once it is over, one of them."""


@dataclass(frozen=True)
class AloneAccuracy:
    """Rates candidates by training each of them from scratch.

    Args:
        alone: how, and where that is kept.
        seed: of the initial weights and the order of images.
    """

    alone: StandAlone
    seed: int = 0

    metrics = ("alone_accuracy", "stopped_epochs")

    def evaluate(self, architecture: Architecture) -> dict[str, Measurement]:
        """`alone_accuracy` on the validation split, and `stopped_epochs` where training ended before its time."""
        self.alone.train(architecture, self.seed, wait=True)
        return self.alone.measurements(architecture, self.seed)


def _name(architecture: Architecture, seed: int) -> str:
    return f"{architecture.digest}-{seed}"


def _read(record: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(record.read_text())
    except (OSError, ValueError) as error:
        raise SupernetError(f"{record} cannot be read ({error}); delete it to train that network again") from None
    return found

"""Stand-alone accuracy: networks trained from scratch, each kept on disk once it is done."""

from __future__ import annotations

import fcntl
import hashlib
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from archfront.hw_profiles.metrics import Measurement
from archfront.space.architecture import Architecture
from archfront.space.files import write_text

from .accuracy import fine_tune, score
from .data import Dataset
from .store import SupernetError
from .task import NonFiniteError, Task
from .train import Diverged, Recipe


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
    """

    folder: Path
    data: Dataset
    task: Task
    recipe: Recipe

    @cached_property
    def _records(self) -> Path:
        """The folder of this recipe and these images."""
        text = json.dumps([self.recipe.model_dump(), self.data.fingerprint])
        return self.folder / hashlib.sha256(text.encode()).hexdigest()[:16]

    def accuracy(self, architecture: Architecture, seed: int) -> Measurement:
        """The accuracy with the initial weights and the order of images of a seed; waits where another process trains.

        Raises:
            Diverged: the training did, now or when it was tried before.
        """
        self.train(architecture, seed, wait=True)
        found = _read(self._record(architecture, seed))
        if "reason" in found:
            raise Diverged(found["reason"])
        return Measurement(**found["accuracy"])

    def train(self, architecture: Architecture, seed: int, wait: bool = False) -> bool:
        """Train unless that was done; False where another process is at it, and this one is not to wait for it."""
        record = self._record(architecture, seed)
        running = self._records / "running" / record.stem
        if not record.exists():
            with _claimed(running.with_suffix(".lock"), wait) as mine:
                if not mine:
                    return False
                if not record.exists():
                    write_text(record, json.dumps(self._train(architecture, seed, running)) + "\n")
        for suffix in (".safetensors", ".json", ".lock"):
            running.with_suffix(suffix).unlink(missing_ok=True)
        return True

    def _record(self, architecture: Architecture, seed: int) -> Path:
        return self._records / f"{architecture.digest}-{seed}.json"

    def _train(self, architecture: Architecture, seed: int, running: Path) -> dict[str, Any]:
        start = time.perf_counter()
        try:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                network = fine_tune(
                    architecture.build(),
                    self.data,
                    self.task,
                    self.recipe,
                    seed=seed,
                    checkpoint=running.with_suffix(".safetensors"),
                    identity=running.name,
                )
            accuracy = score(network, self.data.validation, self.task)
        except (Diverged, NonFiniteError) as error:
            return {"reason": str(error)}
        return {"accuracy": accuracy.to_dict(), "seconds": round(time.perf_counter() - start, 3)}


@contextmanager
def _claimed(path: Path, wait: bool) -> Iterator[bool]:
    """Whether a lock was got; the system releases it however this process ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
            return
        yield True


def _read(record: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(record.read_text())
    except (OSError, ValueError) as error:
        raise SupernetError(f"{record} cannot be read ({error}); delete it to train that network again") from None
    return found

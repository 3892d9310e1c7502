"""Networks trained alone on a Ray cluster: in pieces of a minute, whose checkpoints come back to the driver.

The driver keeps every record, so no file system is shared: a worker that dies takes a minute with it, and a driver that
is killed goes on from the checkpoints in the study. Plain tasks of Ray do this; they are sent again where a worker or
a node dies.
"""

from __future__ import annotations

import importlib.metadata
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import torch

from archfront.evaluators.stand_alone import StandAlone
from archfront.evaluators.task import NonFiniteError
from archfront.evaluators.train import Diverged
from archfront.evaluators.trainer import Trainer
from archfront.hw_profiles.metrics import Measurement
from archfront.space.architecture import Architecture
from archfront.space.files import write_bytes
from archfront.space.space import Space

from ..evaluation import Backend, Evaluate, Outcome, attempt
from .connection import Cluster, ClusterError
from .shipping import Shipment, ship

PIECE = 60.0
"""Seconds of training after which a checkpoint comes back."""

RETRIES = 3
"""Times that a piece is sent again after its worker, or the node, died."""

TURN = 1.0
"""Seconds after which the cluster is looked at again when nothing happens."""


class Piece(NamedTuple):
    """What comes back from a worker.

    Args:
        checkpoint: of the training as far as it is.
        accuracy: at the goal; None where the time was up before.
        reason: why training diverged; empty where it did not.
        seconds: how long it took there.
    """

    checkpoint: bytes
    accuracy: Measurement | None
    reason: str
    seconds: float


def train_piece(
    shipment: Shipment,
    version: str,
    architecture: dict[str, Any],
    seed: int,
    epochs: int,
    checkpoint: bytes,
    seconds: float,
) -> Piece:
    """Go on with a training, on a worker; see `Trainer.advance`."""
    here = importlib.metadata.version("archfront")
    if here != version:
        raise ClusterError(f"a node of the cluster has archfront {here}, the driver {version}; install the same")
    torch.set_num_threads(1)
    trainer, start = _opened(shipment), time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "training.safetensors"
        if checkpoint:
            file.write_bytes(checkpoint)
        try:
            accuracy = trainer.advance(Architecture.from_dict(architecture), seed, file, epochs, seconds)
        except (Diverged, NonFiniteError) as error:
            return Piece(b"", None, str(error), time.perf_counter() - start)
        return Piece(file.read_bytes(), accuracy, "", time.perf_counter() - start)


@lru_cache(maxsize=1)
def _opened(shipment: Shipment) -> Trainer:
    """The trainer, unpacked once in every process; it uses a GPU where this process was given one."""
    import ray

    device = "cuda" if ray.get_gpu_ids() and torch.cuda.is_available() else "cpu"
    trainer: Trainer = replace(shipment.open(), device=device)
    return trainer


@dataclass
class Training:
    """One training under way.

    Args:
        architecture: what is trained.
        seed: of its weights and the order of images.
        claim: keeps other processes off it.
        seconds: spent on it so far.
        error: why it cannot be trained, where that is not that it diverged.
    """

    architecture: Architecture
    seed: int
    claim: ExitStack = field(default_factory=ExitStack)
    seconds: float = 0.0
    error: Exception | None = None


class Trainings:
    """Trains networks on the CPUs of a cluster, one a CPU, and keeps the records here.

    Args:
        cluster: where.
        alone: the records, and how to train; the data is sent once to every node.
        space: that the architectures come from; its blocks are made known to the workers.
        workers: trainings at a time; by default one a CPU of the cluster, as it grows and shrinks.
        gpus: share of a GPU for every training, which then runs there.
        seconds: of a piece.
    """

    def __init__(
        self,
        cluster: Cluster,
        alone: StandAlone,
        space: Space,
        *,
        workers: int | None = None,
        gpus: float = 0.0,
        seconds: float = PIECE,
    ) -> None:
        import ray

        self.alone = alone
        self._cluster = cluster
        self._workers = workers
        self._seconds = seconds
        self._shipment = ship(alone.trainer, space)
        self._version = importlib.metadata.version("archfront")
        again = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=RETRIES, scheduling_strategy="SPREAD")
        self._train: Any = again(train_piece)
        self._pieces: dict[Any, tuple[Training, int]] = {}
        self._elsewhere: list[Training] = []
        self._done: list[Training] = []
        self._target, self._looked = 1, -TURN

    @property
    def room(self) -> int:
        """How many more can be taken on now."""
        if self._workers is None and time.monotonic() - self._looked >= TURN:
            self._target, self._looked = max(1, self._cluster.cpus), time.monotonic()
        return (self._workers or self._target) - self._under_way

    @property
    def busy(self) -> bool:
        """Whether any is under way, or over and not collected."""
        return bool(self._under_way or self._done)

    @property
    def _under_way(self) -> int:
        return len(self._pieces) + len(self._elsewhere)

    def submit(self, architecture: Architecture, seed: int) -> None:
        """Take on a training; one that another process is at is waited for."""
        self._begin(Training(architecture, seed))

    def collect(self) -> list[Training]:
        """Wait until some are over, and give those."""
        while not self._done:
            self._turn()
        done, self._done = self._done, []
        return done

    def every(self, wanted: Iterable[tuple[Architecture, int]]) -> Iterator[Training]:
        """Train all of these, and give each as it is over."""
        waiting = iter(wanted)
        left = True
        while left or self.busy:
            while left and self.room > 0:
                following = next(waiting, None)
                left = following is not None
                if following is not None:
                    self.submit(*following)
            if self.busy:
                yield from self.collect()

    def close(self) -> None:
        """Give up what is under way; its checkpoints stay."""
        import ray

        for reference, (training, _) in self._pieces.items():
            ray.cancel(reference, force=True)
            training.claim.close()
        self._pieces.clear()

    # ----------------------------------------------------------------- one thing after the other

    def _begin(self, training: Training) -> None:
        mine = training.claim.enter_context(self.alone.claimed(training.architecture, training.seed))
        if not mine:
            self._elsewhere.append(training)
            return
        self.alone.begin(training.architecture, training.seed)
        self._send(training)

    def _send(self, training: Training) -> None:
        """Send the next piece, or be done with it."""
        epochs = self.alone.goal(training.architecture, training.seed)
        if epochs is None:
            self._finish(training)
            return
        file = self.alone.checkpoint(training.architecture, training.seed)
        checkpoint = file.read_bytes() if file.exists() else b""
        plain = training.architecture.to_dict()
        reference = self._train.remote(
            self._shipment, self._version, plain, training.seed, epochs, checkpoint, self._seconds
        )
        self._pieces[reference] = training, epochs

    def _finish(self, training: Training) -> None:
        training.claim.close()
        self._done.append(training)

    def _turn(self) -> None:
        import ray

        waiting, self._elsewhere = self._elsewhere, []
        for training in waiting:
            self._begin(training)
        if not self._pieces:
            time.sleep(TURN if self._elsewhere else 0)
            return
        answered, rest = ray.wait(list(self._pieces), num_returns=1, timeout=TURN)
        more, _ = ray.wait(rest, num_returns=len(rest), timeout=0) if answered and rest else ([], [])
        for reference in (*answered, *more):
            self._take(reference, *self._pieces.pop(reference))

    def _take(self, reference: Any, training: Training, epochs: int) -> None:
        import ray

        try:
            piece: Piece = ray.get(reference)
        except ray.exceptions.RayTaskError as error:
            training.error = error.cause or error
        except ray.exceptions.RayError as error:
            training.error = ClusterError(
                f"{RETRIES + 1} worker processes died while they trained {training.architecture.digest} ({error})"
            )
        if training.error is not None:
            self._finish(training)
            return
        training.seconds += piece.seconds
        self._keep(training, epochs, piece)
        self._send(training)

    def _keep(self, training: Training, epochs: int, piece: Piece) -> None:
        architecture, seed = training.architecture, training.seed
        if piece.reason:
            self.alone.fail(architecture, seed, piece.reason)
            return
        write_bytes(self.alone.checkpoint(architecture, seed), piece.checkpoint)
        if piece.accuracy is not None:
            self.alone.keep(architecture, seed, epochs, piece.accuracy)


class TrainingBackend(Backend):
    """Candidates of a search that are trained alone on a cluster. Whoever is done is collected: nobody is waited for.

    Args:
        trainings: where they are trained.
        seed: of the weights and the order of images of every candidate.
        cheap: what is found out about a candidate besides.
    """

    def __init__(self, trainings: Trainings, seed: int, cheap: Evaluate) -> None:
        self._trainings = trainings
        self._seed = seed
        self._cheap = cheap

    @property
    def room(self) -> int:
        return max(0, self._trainings.room)

    @property
    def busy(self) -> bool:
        return self._trainings.busy

    def submit(self, architecture: Architecture) -> None:
        self._trainings.submit(architecture, self._seed)

    def collect(self) -> list[tuple[Architecture, Outcome]]:
        return [(training.architecture, self._outcome(training)) for training in self._trainings.collect()]

    def close(self) -> None:
        self._trainings.close()

    def _outcome(self, training: Training) -> Outcome:
        def evaluate(architecture: Architecture) -> dict[str, Measurement]:
            if training.error is not None:
                raise training.error
            return {**self._cheap(architecture), **self._trainings.alone.measurements(architecture, self._seed)}

        outcome = attempt(evaluate, training.architecture)
        return Outcome(outcome.measurements, outcome.reason, outcome.seconds + training.seconds)

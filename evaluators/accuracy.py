"""Accuracy: of a candidate with shared weights, and of a stand-alone network after fine-tuning."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from archfront.hw_profiles.metrics import Measurement
from archfront.space.architecture import Architecture

from .data import Dataset, Split, batches
from .drop_path import ScheduledDropPath
from .supernet import Supernet
from .task import Task
from .train import Progress, Recipe, Training


class Evaluator(Protocol):
    """Turns an architecture into measurements."""

    @property
    def metrics(self) -> tuple[str, ...]:
        """The names of the metrics that `evaluate` gives."""
        ...

    def evaluate(self, architecture: Architecture) -> dict[str, Measurement]:
        """The measurement of each metric."""
        ...


@torch.no_grad()
def score(network: Callable[[Tensor], Tensor], split: Split, task: Task, batch: int = 256) -> Measurement:
    """The task's score of a network in evaluation mode on a whole split.

    Raises:
        NonFiniteError: the network's outputs are not finite.
    """
    tally = task.tally()
    for x, y in batches(split, batch):
        tally.add(network(x), y)
    return tally.measurement()


@torch.no_grad()
def rate(network: Callable[[Tensor], Tensor], split: Split, task: Task, batch: int = 256) -> dict[str, Measurement]:
    """`supernet_accuracy`, which is the task's `score`, and `supernet_loss`, the mean of its loss, on a whole split.

    Raises:
        NonFiniteError: the network's outputs are not finite.
    """
    tally, total = task.tally(), 0.0
    for x, y in batches(split, batch):
        outputs = network(x)
        tally.add(outputs, y)
        total += float(task.loss(outputs, y)) * len(y)
    loss = Measurement(total / len(split), "measured", samples=len(split))
    return {"supernet_accuracy": tally.measurement(), "supernet_loss": loss}


@dataclass(frozen=True)
class SupernetAccuracy:
    """Validation accuracy and loss of candidates with shared weights: a signal for ranking, below what training alone gives.

    Batch statistics are computed for each candidate from the same `calibration_images` training images, in the same
    order, keeping nothing of the candidate before.
    """

    supernet: Supernet
    data: Dataset
    task: Task
    calibration_images: int = 512
    batch: int = 128

    metrics = ("supernet_accuracy", "supernet_loss")

    def __getstate__(self) -> dict[str, Any]:
        """What rating takes elsewhere: batches to calibrate with and images to validate on, no others."""
        none = torch.arange(0)
        data = replace(self.data, train=self.data.train.take(none), test=self.data.test.take(none))
        return {**vars(self), "data": data, "calibration": self.calibration, "validation": self.validation}

    @cached_property
    def calibration(self) -> list[Tensor]:
        """The batches from which batch statistics are computed."""
        images = torch.arange(min(self.calibration_images, len(self.data.train)))
        split = self.data.train.take(images).to(self.supernet.device)
        return [x for x, _ in batches(split, self.batch) if len(x) > 1]

    @cached_property
    def validation(self) -> Split:
        """The validation images, where the supernet is."""
        return self.data.validation.to(self.supernet.device)

    def evaluate(self, architecture: Architecture) -> dict[str, Measurement]:
        """`supernet_accuracy` and `supernet_loss` on the validation split."""
        return rate(self.supernet.candidate(architecture).calibrate(self.calibration), self.validation, self.task)


def fine_tune(
    network: nn.Module,
    data: Dataset,
    task: Task,
    recipe: Recipe,
    *,
    drop_path: float = 0.0,
    seed: int = 0,
    checkpoint: Path | None = None,
    identity: str = "",
    progress: Progress | None = None,
) -> nn.Module:
    """Train a stand-alone network on the training split and leave it in evaluation mode.

    With `drop_path`, paths are dropped with a probability that rises to it (`ScheduledDropPath`). With `checkpoint`,
    weights and batch statistics survive an interruption; a finished run is read back.
    """
    statistics = {name: b for name, b in network.named_buffers() if b.is_floating_point()}

    def step_loss(x: Tensor, y: Tensor, step: int) -> float:
        loss = task.loss(network(x), y, recipe.label_smoothing)
        loss.backward()  # type: ignore[no-untyped-call]
        return float(loss.detach())

    network.train()
    training = Training(
        dict(network.named_parameters()),
        ScheduledDropPath(step_loss, network, recipe.steps(len(data.train)), drop_path) if drop_path else step_loss,
        data.train,
        recipe,
        seed=seed,
        checkpoint=checkpoint,
        identity=identity,
        buffers=statistics,
    )
    training.run(progress)
    return network.eval()

"""Training a network from scratch in pieces, here or wherever its checkpoint is carried."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor, nn

from archfront.hw_profiles.metrics import Measurement
from archfront.space.architecture import Architecture

from .accuracy import score
from .data import Split
from .task import Task
from .train import Recipe, Training


@dataclass(frozen=True)
class Trainer:
    """Trains networks from scratch, in pieces: each begins where the checkpoint of the one before ends.

    Pieces add up to the very training that is made at once: the state of the random generator is part of a checkpoint.

    Args:
        train: the images that are trained on.
        validation: the images that are scored.
        task: what is learned.
        recipe: how.
        device: where: "cpu" or "cuda".
    """

    train: Split
    validation: Split
    task: Task
    recipe: Recipe
    device: str = "cpu"

    def advance(
        self, architecture: Architecture, seed: int, checkpoint: Path, epochs: int, seconds: float = math.inf
    ) -> Measurement | None:
        """Train on, up to the end of an epoch; gives the validation accuracy there.

        Args:
            seed: of the initial weights and the order of images.
            epochs: counted from the start of the training.
            seconds: stop after this long, somewhere in an epoch; None is what was reached then.

        Raises:
            Diverged: the loss did.
            NonFiniteError: the outputs did.
        """
        deadline = time.monotonic() + seconds
        with self._begun(architecture, seed, checkpoint) as (network, training, state):
            goal = training.total * min(epochs, self.recipe.epochs) // max(1, self.recipe.epochs)

            def watch(step: int, total: int, loss: float) -> None:
                state.copy_(self._generator.get_state())
                if step < total and (step >= goal or time.monotonic() > deadline):
                    raise _Paused

            if training.step < goal or not checkpoint.exists():
                try:
                    training.run(watch)
                except _Paused:
                    training.save()
            return score(network.eval(), self._held_out, self.task) if training.step >= goal else None

    def network(self, architecture: Architecture, seed: int, checkpoint: Path) -> nn.Module:
        """The network of a checkpoint, on the processor, in evaluation mode."""
        with self._begun(architecture, seed, checkpoint) as (network, _, _):
            return network.eval().cpu()

    @contextmanager
    def _begun(
        self, architecture: Architecture, seed: int, checkpoint: Path
    ) -> Iterator[tuple[nn.Module, Training, Tensor]]:
        """A network, its training as far as the checkpoint has it, and the state of the random generator to keep."""
        with torch.random.fork_rng(devices=[] if self.device == "cpu" else [torch.cuda.current_device()]):
            torch.manual_seed(seed)
            network = architecture.build().to(self.device).train()
            state = self._generator.get_state()

            def step_loss(x: Tensor, y: Tensor, step: int) -> float:
                loss = self.task.loss(network(x), y, self.recipe.label_smoothing)
                loss.backward()  # type: ignore[no-untyped-call]
                return float(loss.detach())

            training = Training(
                dict(network.named_parameters()),
                step_loss,
                self._images,
                self.recipe,
                seed=seed,
                checkpoint=checkpoint,
                identity=f"alone/{architecture.digest}-{seed}",
                buffers={n: b for n, b in network.named_buffers() if b.is_floating_point()} | {RANDOM: state},
            )
            self._generator.set_state(state)
            yield network, training, state

    @property
    def _generator(self) -> torch.Generator:
        if self.device == "cpu":
            return torch.default_generator
        return torch.cuda.default_generators[torch.cuda.current_device()]

    @cached_property
    def _images(self) -> Split:
        return self.train.to(self.device)

    @cached_property
    def _held_out(self) -> Split:
        return self.validation.to(self.device)


RANDOM = "random generator"
"""What its state is called in a checkpoint; no buffer of a module has a space in its name."""


class _Paused(Exception):
    """Training has come as far as it was to come."""

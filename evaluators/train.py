"""Training: one loop for the supernet and for stand-alone networks, interruptible at any moment."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field, field_validator
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from archfront.space.errors import ArchfrontError
from archfront.space.files import replace_file, write_text

from .augment import augment_named
from .data import Split, batches, epoch_generator
from .parallel import ALONE, Group
from .store import SupernetError


class Recipe(BaseModel):
    """How weights are trained: AdamW, linear warm-up, cosine decay to zero.

    `learning_rate` is the peak. `ema` keeps an exponential moving average of the weights with this decay and ends with it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: int = Field(10, ge=0)
    batch_size: int = Field(64, ge=2)
    learning_rate: float = Field(2e-3, gt=0)
    weight_decay: float = Field(0.02, ge=0)
    warmup: float = Field(0.1, ge=0, lt=1, description="fraction of the steps")
    label_smoothing: float = Field(0.1, ge=0, lt=1)
    clip_norm: float = Field(5.0, gt=0)
    ema: float | None = Field(None, gt=0, lt=1)
    augment: str = Field("none", description='"none", or crop, flip, cutout, mixup joined by "+"')

    @field_validator("augment")
    @classmethod
    def _known_augmentation(cls, value: str) -> str:
        try:
            augment_named(value, (32, 32))
        except ArchfrontError as error:
            raise ValueError(str(error)) from None
        return value

    def steps(self, images: int) -> int:
        """Optimisation steps on a training split of this many images."""
        return self.epochs * max(1, images // self.batch_size)

    def rate(self, step: int, total: int) -> float:
        """The learning rate of a step, counted from 0."""
        warm = max(1, round(self.warmup * total))
        if step < warm:
            return self.learning_rate * (step + 1) / warm
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, total - warm)))


StepLoss = Callable[[Tensor, Tensor, int], float]
"""Computes the loss on a batch (images, targets, step number), back-propagates it, and returns its value."""

Progress = Callable[[int, int, float], None]
"""Told after every step: steps done, steps in all, loss."""


class Diverged(SupernetError):
    """The loss became infinite or not a number."""


@dataclass
class Training:
    """A training run over a training split that can stop at any step and go on from its last checkpoint.

    Args:
        parameters: what is optimised, by name.
        step_loss: computes and back-propagates the loss of a batch.
        split: the training images.
        recipe: hyper-parameters.
        seed: of the order of images and their augmentation.
        checkpoint: file to save to and resume from; None keeps nothing.
        identity: what this run is; a checkpoint of another run is refused.
        every_seconds: how often a checkpoint is written.
        buffers: tensors that training changes by itself (batch statistics) and a checkpoint has to keep.
        group: the processes that do this training together; the first of them writes the checkpoints.
    """

    parameters: Mapping[str, Tensor]
    step_loss: StepLoss
    split: Split
    recipe: Recipe
    seed: int = 0
    checkpoint: Path | None = None
    identity: str = ""
    every_seconds: float = 20.0
    buffers: Mapping[str, Tensor] = field(default_factory=dict)
    group: Group = ALONE

    def __post_init__(self) -> None:
        self.total = self.recipe.steps(len(self.split))
        decayed = [p for p in self.parameters.values() if p.dim() > 1]
        plain = [p for p in self.parameters.values() if p.dim() <= 1]  # biases and norm weights are not decayed
        groups = [{"params": decayed, "weight_decay": self.recipe.weight_decay}, {"params": plain, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW([g for g in groups if g["params"]], lr=self.recipe.learning_rate, fused=True)
        self.average = None if self.recipe.ema is None else {k: v.detach().clone() for k, v in self.parameters.items()}
        self.step = 0
        if self.checkpoint is not None and self.checkpoint.exists():
            self._load(self.checkpoint)

    @property
    def done(self) -> bool:
        """Whether every step has been made."""
        return self.step >= self.total

    def run(self, progress: Progress | None = None) -> None:
        """Make the steps that are left; an interruption loses what came after the last checkpoint.

        Raises:
            Diverged: the loss is not finite; the last checkpoint is from before.
        """
        saved = time.monotonic()
        per_epoch = max(1, self.total // max(1, self.recipe.epochs))
        while not self.done:
            epoch, first = divmod(self.step, per_epoch)
            for x, y in self._epoch(epoch, first):
                loss = self._advance(x, y)
                if progress is not None:
                    progress(self.step, self.total, loss)
                if self.checkpoint is not None and time.monotonic() - saved > self.every_seconds and not self.done:
                    self.save()
                    saved = time.monotonic()
                if self.step % per_epoch == 0:
                    break
        self._finish()

    def _epoch(self, epoch: int, first: int) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches of an epoch from the `first`-th on; order and augmentation depend on seed and epoch alone."""
        size = self.split.images.shape[-2:]
        return batches(
            self.split,
            self.recipe.batch_size,
            epoch_generator(self.seed, epoch),
            shuffle=True,
            augment=augment_named(self.recipe.augment, (size[0], size[1])),
            drop_last=len(self.split) >= self.recipe.batch_size,
            first=first,
        )

    def _advance(self, x: Tensor, y: Tensor) -> float:
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.rate(self.step, self.total)
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.step_loss(self.group.share(x), self.group.share(y), self.step)
        loss = self.group.mean_gradients_(self.parameters.values(), loss)
        if not math.isfinite(loss):
            raise Diverged(
                f"the loss became {loss} at step {self.step + 1} of {self.total}; a smaller learning_rate "
                f"(now {self.recipe.learning_rate:g}) or a longer warmup helps"
            )
        torch.nn.utils.clip_grad_norm_(list(self.parameters.values()), self.recipe.clip_norm)
        self.optimizer.step()
        self.step += 1
        if self.average is not None and self.recipe.ema is not None:
            with torch.no_grad():
                for name, value in self.average.items():
                    value.lerp_(self.parameters[name], 1 - self.recipe.ema)
        return loss

    def _finish(self) -> None:
        if self.average is not None:
            with torch.no_grad():
                for name, parameter in self.parameters.items():
                    parameter.copy_(self.average[name])
        self.save()

    # ------------------------------------------------------------------ checkpoints

    def save(self) -> None:
        """Write the checkpoint: weights, optimiser state and progress in one file, replaced as a whole."""
        if self.checkpoint is None or self.group.rank > 0:
            return
        tensors = {f"weight/{name}": p.detach().contiguous() for name, p in self.parameters.items()}
        tensors |= {f"buffer/{name}": buffer.contiguous() for name, buffer in self.buffers.items()}
        if not self.done:
            for name, parameter in self.parameters.items():
                for key, value in self.optimizer.state.get(parameter, {}).items():
                    tensors[f"optimizer/{key}/{name}"] = value.contiguous()
            for name, value in (self.average or {}).items():
                tensors[f"average/{name}"] = value.contiguous()
        facts = {"step": self.step, "total": self.total, "identity": self.identity, "recipe": self.recipe.model_dump()}
        metadata = {"archfront": json.dumps(facts)}
        replace_file(self.checkpoint, lambda path: save_file(tensors, path, metadata))
        write_text(self.checkpoint.with_suffix(".json"), json.dumps(facts, indent=1) + "\n")

    def _load(self, path: Path) -> None:
        facts, tensors = read_checkpoint(path)
        if facts["identity"] != self.identity or facts["total"] != self.total:
            raise SupernetError(
                f"{path} belongs to another run (other space, data or recipe): choose another study name, or delete it"
            )
        self.step = int(facts["step"])
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(tensors[f"weight/{name}"])
                state = {
                    key.split("/", 2)[1]: tensors[key].to(parameter.device)
                    for key in (f"optimizer/{kind}/{name}" for kind in ("step", "exp_avg", "exp_avg_sq"))
                    if key in tensors
                }
                if state:
                    self.optimizer.state[parameter] = state
            for name, buffer in self.buffers.items():
                buffer.copy_(tensors[f"buffer/{name}"])
            for name, value in (self.average or {}).items():
                value.copy_(tensors.get(f"average/{name}", tensors[f"weight/{name}"]))


def read_checkpoint(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The facts and the tensors in a checkpoint file.

    Raises:
        SupernetError: the file is no checkpoint of archfront, or damaged.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
        facts: dict[str, Any] = json.loads(metadata["archfront"])
    except (SafetensorError, KeyError, ValueError, OSError) as error:
        raise SupernetError(
            f"{path} cannot be read as a checkpoint ({error}); delete it to start this part again"
        ) from None
    return facts, tensors

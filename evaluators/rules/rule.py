"""What a training rule is: what happens to the shared weights in one step."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from archfront.space.architecture import Architecture
from archfront.space.errors import SpaceError
from archfront.space.limits import Bounds
from archfront.space.resolve import Assignment
from archfront.space.space import Space
from archfront.space.spec import Paper

from ..parallel import ALONE, Group
from ..supernet import Supernet
from ..task import Task

CANDIDATES = 512
"""Candidates that are kept built."""


class Step(NamedTuple):
    """One step of a training.

    Args:
        number: counted from 0.
        progress: share of the training that lies behind it, in [0, 1).
        rng: for what the step draws; it depends on the seed and the number alone, so a resumed run draws the same.
    """

    number: int
    progress: float
    rng: random.Random


class Rule(ABC):
    """How the shared weights are trained; an instance is the `step_loss` of a `Training`.

    Args:
        supernet: what is trained, made by `make_supernet`.
        task: gives the loss on labels and the distillation loss.
        steps: of the whole training.
        bounds: additive costs that random architectures stay within.
        label_smoothing: for the loss on labels.
        randoms: random architectures a step, for rules that leave their number open.
        seed: of everything that the rule draws.

    Attributes:
        group: the processes that train together. Each has its share of a batch and must draw the same architectures,
            so what a rule concludes from the batch, it concludes from a mean over the group.
    """

    name: ClassVar[str]
    """What study.toml calls it."""

    paper: ClassVar[Paper]

    rating: ClassVar[str] = "supernet_accuracy"
    """The metric that candidates are rated by with what was trained."""

    def __init__(
        self,
        supernet: Supernet,
        task: Task,
        steps: int,
        *,
        bounds: Bounds | None = None,
        label_smoothing: float = 0.1,
        randoms: int = 2,
        seed: int = 0,
    ) -> None:
        self.supernet = supernet
        self.space: Space = supernet.space
        self.task = task
        self.steps = steps
        self.bounds = bounds
        self.label_smoothing = label_smoothing
        self.randoms = randoms
        self.seed = seed
        self.group: Group = ALONE
        self.candidate = lru_cache(maxsize=CANDIDATES)(supernet.candidate)

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the candidates that were built and the bounds: what travels rates, and trains no further."""
        kept = {name: value for name, value in vars(self).items() if name != "candidate"}
        return kept | {"bounds": None, "group": ALONE}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self.candidate = lru_cache(maxsize=CANDIDATES)(self.supernet.candidate)

    @classmethod
    def make_supernet(cls, space: Space, seed: int = 0, device: torch.device | str = "cpu") -> Supernet:
        """The supernet that this rule trains."""
        return Supernet(space, seed, device)

    @property
    def parameters(self) -> Mapping[str, Tensor]:
        """What is trained, by name."""
        return self.supernet.store.parameters

    @property
    def buffers(self) -> Mapping[str, Tensor]:
        """What else a checkpoint has to keep, by name."""
        return {}

    def __call__(self, x: Tensor, y: Tensor, step: int) -> float:
        rng = random.Random(self.seed * 1_000_003 + step)
        with torch.random.fork_rng(devices=[]):
            # for what modules draw themselves, such as dropped paths; another seed for every share of a batch
            torch.manual_seed((self.seed * 1_000_003 + step) * self.group.size + self.group.rank)
            return self.train(x, y, Step(step, step / max(1, self.steps), rng))

    @abstractmethod
    def train(self, x: Tensor, y: Tensor, step: Step) -> float:
        """Back-propagate into the store what a batch of images and targets teaches; gives a loss to watch."""

    # ------------------------------------------------------------------ what rules are made of

    def draw(self, rng: random.Random, wanted: Assignment | None = None) -> Architecture:
        """A random architecture; one that takes the `wanted` options, or the nearest possible, where they are given.

        Where bounds or predicates leave nothing of that kind, a random one of those they leave.
        """
        if wanted:
            try:
                found = self.space.closest(wanted, self.bounds, rng)
            except SpaceError:
                found = None  # bounds on several costs exclude each other on this way
            if found is not None and (not self.space.where or found in self.space):
                return found
        return self.space.sample(rng, over="sites", bounds=self.bounds)

    def forward(self, architecture: Architecture, x: Tensor) -> Tensor:
        """The outputs for a batch, normalised by its own statistics; bfloat16 inside on a GPU."""
        with torch.autocast(x.device.type, torch.bfloat16, enabled=x.device.type == "cuda"):
            output = self.candidate(architecture).train()(x)
        return output.float()

    def learn(
        self, architecture: Architecture, x: Tensor, criterion: Callable[[Tensor], Tensor]
    ) -> tuple[Tensor, float]:
        """Back-propagate a criterion on the outputs of an architecture; gives the outputs and the loss."""
        output = self.forward(architecture, x)
        loss = criterion(output)
        loss.backward()  # type: ignore[no-untyped-call]
        return output.detach(), float(loss.detach())

    def label_loss(self, outputs: Tensor, y: Tensor) -> Tensor:
        """The loss on labels."""
        return self.task.loss(outputs, y, self.label_smoothing)


def extreme(space: Space, end: Literal["smallest", "largest"], rng: random.Random) -> Architecture:
    """The smallest or largest option at every ordered site; unordered ones (operators, gates) are drawn.

    Drawing them trains every operator at full width, where no single architecture is the largest of all.
    """
    return space.closest(ends(space, end), rng=rng)


def ends(space: Space, end: Literal["smallest", "largest"]) -> Assignment:
    """The first or the last option at every ordered site."""
    return {
        path: 0 if end == "smallest" else len(site.domain.options) - 1
        for path, site in space.sites.items()
        if site.domain.ordered
    }

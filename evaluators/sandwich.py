"""How the supernet is trained: the sandwich rule with in-place distillation.

Every step trains the largest architecture on the labels, and the smallest and some random ones on what the largest
says (Yu and Huang, 2019, Universally Slimmable Networks; Yu et al., 2020, BigNAS).
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor

from archfront.space.architecture import Architecture
from archfront.space.space import Space

from .supernet import Candidate, Supernet
from .task import Task

Sampler = Callable[[random.Random], Architecture]


def extreme(space: Space, end: Literal["smallest", "largest"], rng: random.Random) -> Architecture:
    """The smallest or largest option at every ordered site; unordered ones (operators, gates) are drawn.

    Drawing them trains every operator at full width, where no single architecture is the largest of all.
    """
    wanted = {
        path: 0 if end == "smallest" else len(site.domain.options) - 1
        for path, site in space.sites.items()
        if site.domain.ordered
    }
    return space.closest(wanted, rng=rng)


class Sandwich:
    """The loss of one supernet step; an instance is the `step_loss` of a `Training`.

    Args:
        supernet: what is trained.
        task: gives the loss on labels and the distillation loss.
        sampler: draws the random architectures, such as `space.sample` within a budget.
        label_smoothing: for the loss on labels.
        randoms: random architectures a step.
        seed: architectures depend on it and the step number alone, so a resumed run draws the same.
    """

    def __init__(
        self,
        supernet: Supernet,
        task: Task,
        sampler: Sampler,
        label_smoothing: float = 0.1,
        randoms: int = 2,
        seed: int = 0,
    ) -> None:
        self.supernet = supernet
        self.task = task
        self.sampler = sampler
        self.label_smoothing = label_smoothing
        self.randoms = randoms
        self.seed = seed
        self._candidate = lru_cache(maxsize=512)(supernet.candidate)

    def __call__(self, x: Tensor, y: Tensor, step: int) -> float:
        rng = random.Random(self.seed * 1_000_003 + step)
        space = self.supernet.space
        logits, loss = self._step(self._candidate(extreme(space, "largest", rng)), x, lambda out: self._hard(out, y))
        others = [extreme(space, "smallest", rng), *(self.sampler(rng) for _ in range(self.randoms))]
        for architecture in others:
            self._step(self._candidate(architecture), x, lambda out: self.task.distillation_loss(out, logits))
        return loss

    def _hard(self, out: Tensor, y: Tensor) -> Tensor:
        return self.task.loss(out, y, self.label_smoothing)

    def _step(self, candidate: Candidate, x: Tensor, criterion: Callable[[Tensor], Tensor]) -> tuple[Tensor, float]:
        with torch.autocast(x.device.type, torch.bfloat16, enabled=x.device.type == "cuda"):
            out = candidate.train()(x)
        loss = criterion(out.float())
        loss.backward()  # type: ignore[no-untyped-call]
        return out.detach().float(), float(loss.detach())

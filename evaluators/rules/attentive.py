"""Attentive sampling: the sandwich rule with random architectures from the best or the worst front."""

from __future__ import annotations

import random
from typing import ClassVar

import torch
from torch import Tensor

from archfront.hw_profiles.cost import cost
from archfront.space.architecture import Architecture
from archfront.space.spec import Paper

from .rule import Step, extreme
from .sandwich import Sandwich

POOL = 3
"""Architectures of about one cost, of which one is trained."""

SPREAD = 4
"""Times as many are drawn; those with the cost nearest to the first make the pool."""

IMAGES = 32
"""Of the batch, on which the pool is compared."""


class Attentive(Sandwich):
    """Each random architecture is the best, or the worst, of a pool of about the same cost.

    The cost is that of a random architecture, so that costs come as often as without attention; its neighbours in cost
    among further random ones make the pool; the loss on the first images of the batch, with the present weights,
    compares them. That is the estimate by mini-batch loss of the paper, which needs no trained predictor.
    """

    paper = Paper(
        "AttentiveNAS: Improving Neural Architecture Search via Attentive Sampling", "Wang, Li, Gong & Chandra", 2021
    )
    best: ClassVar[bool]

    def students(self, x: Tensor, y: Tensor, step: Step) -> list[Architecture]:
        attended = [self.attend(self.pool(step.rng), x[:IMAGES], y[:IMAGES]) for _ in range(self.randoms)]
        return [extreme(self.space, "smallest", step.rng), *attended]

    def pool(self, rng: random.Random) -> list[Architecture]:
        """`POOL` random architectures of about the same multiply-adds."""
        drawn = [self.draw(rng) for _ in range(SPREAD * (POOL - 1) + 1)]
        macs = cost(drawn[0]).macs
        return sorted(drawn, key=lambda architecture: abs(cost(architecture).macs - macs))[:POOL]

    @torch.no_grad()
    def attend(self, pool: list[Architecture], x: Tensor, y: Tensor) -> Architecture:
        """The one of the pool with the lowest loss on these images, or with the highest."""
        losses = torch.stack([self.label_loss(self.forward(architecture, x), y) for architecture in pool])
        losses = self.group.mean_(losses)
        return pool[int(losses.argmin() if self.best else losses.argmax())]


class AttentiveBest(Attentive):
    """`Attentive` towards the best front ("BestUp")."""

    name = "attentive_best"
    best = True


class AttentiveWorst(Attentive):
    """`Attentive` towards the worst front ("WorstUp")."""

    name = "attentive_worst"
    best = False

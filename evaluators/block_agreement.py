"""The rating of block-wise training without labels: how near a path is to what all paths say together."""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from archfront.hw_profiles.metrics import Measurement
from archfront.space.architecture import Architecture

from .data import Split, batches
from .rules.bootstrapping import Bootstrapping, block_of


@dataclass(frozen=True)
class BlockAgreement:
    """Minus the sum over blocks of the mean squared distance between what a path says and the mean of a population.

    Each block of an architecture is rated behind the path that training chose for the blocks before it, on two views of
    held-out images; the population are random paths of the block behind the same. Li et al., 2021, BossNAS.

    Args:
        rule: that trained.
        split: of held-out images; labels are not looked at.
        images: how many of its first are.
        population: random paths a block.
        seed: of the population and the views.
    """

    rule: Bootstrapping
    split: Split
    images: int = 256
    population: int = 32
    seed: int = 0

    metrics = ("block_agreement",)

    def __getstate__(self) -> dict[str, Any]:
        """What rating takes elsewhere: two views of the images and what all paths say about them, no other images."""
        return {**vars(self), "split": self.split.take(torch.arange(0)), "views": self.views, "centres": self.centres}

    @cached_property
    def views(self) -> list[Tensor]:
        """Two views of the images."""
        split = self.split.to(self.rule.supernet.device)
        x, _ = next(batches(split, min(self.images, len(split))))
        return self.rule.views(x, random.Random(self.seed))

    @cached_property
    def centres(self) -> list[Tensor]:
        """For every block, what the population says about each image: (N, SIZE)."""
        rng = random.Random(self.seed)
        return [
            torch.stack([self._said(block, self.rule.path(block, rng)) for _ in range(self.population)]).mean((0, 1))
            for block in range(self.rule.blocks)
        ]

    @torch.no_grad()
    def _said(self, block: int, path: Architecture) -> Tensor:
        return self.rule.said(block, path, self.views)

    def distance(self, block: int, architecture: Architecture) -> float:
        """The mean squared distance of one block of an architecture."""
        space = self.rule.space
        own = {s: o for s, o in space.assignment(architecture).items() if block_of(s, self.rule.blocks) >= block}
        # with blocks of two architectures it need not keep the budget of either
        path = space.closest({**own, **self.rule.prefix(block)}, rng=random.Random(self.seed))
        return float((self._said(block, path) - self.centres[block]).square().sum(-1).mean())

    def evaluate(self, architecture: Architecture) -> dict[str, Measurement]:
        """`block_agreement`; 0 would be a path that says in every block what all say."""
        total = sum(self.distance(block, architecture) for block in range(self.rule.blocks))
        return {"block_agreement": Measurement(-total, "measured", samples=self.images)}

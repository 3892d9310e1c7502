"""Zero-cost proxies as an evaluator; each is a file of its own."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch

from archfront.hw_profiles.metrics import Measurement
from archfront.space.architecture import Architecture

from ..data import Split, batches
from ..task import Task
from . import grad_norm, jacob_cov, naswot, snip, synflow, zen  # noqa: F401 - they register themselves
from .proxy import PROXIES, Batch, Proxy


@dataclass(frozen=True)
class ProxyScores:
    """Scores of untrained networks: the same initial weights and the same images for every call.

    Args:
        split: whose first images are looked at; training images, so that nothing is learnt about the others.
        task: gives the loss.
        images: how many.
        seed: of the initial weights.
        metrics: which proxies.
    """

    split: Split
    task: Task
    images: int = 64
    seed: int = 0
    metrics: tuple[str, ...] = tuple(PROXIES)

    @cached_property
    def batch(self) -> Batch:
        """The images, once."""
        x, y = next(batches(self.split, min(self.images, len(self.split))))
        return Batch(x, y, self.task)

    def evaluate(self, architecture: Architecture) -> dict[str, Measurement]:
        """Every score; -inf, the worst, where it is not defined for this network."""
        return {
            name: Measurement(self._score(name, architecture), "measured", samples=self.images) for name in self.metrics
        }

    def _score(self, name: str, architecture: Architecture) -> float:
        """One score; all that is random in the network, dropped paths as well as weights, follows from the seed."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            return PROXIES[name].score(architecture.build().train(), self.batch)


__all__ = ["PROXIES", "Proxy", "ProxyScores"]

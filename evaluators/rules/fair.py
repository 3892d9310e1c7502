"""Strict fairness: every option is trained equally often, not only in expectation."""

from __future__ import annotations

import random

from torch import Tensor

from archfront.space.resolve import Assignment
from archfront.space.spec import Paper

from .rule import Rule, Step


class Fair(Rule):
    """Every step trains, on labels, as many architectures as the site with most options has; one update for all.

    Architectures are numbered through the whole training. At a site with m options, numbers k m to (k + 1) m - 1 take
    each option exactly once, in a random order that is drawn anew for every k. The paper's sites all have the same m, so
    that a step is one such round; here sites with fewer options go through several rounds, or parts of them. A site that
    exists only under some choices is reached less often, and then its shares are equal in expectation only; the same
    holds where a wanted combination cannot be built or breaks the budget, and the nearest one is trained instead.
    """

    name = "fair"
    paper = Paper(
        "FairNAS: Rethinking Evaluation Fairness of Weight Sharing Neural Architecture Search",
        "Chu, Zhang & Xu",
        2021,
    )

    @property
    def paths(self) -> int:
        """Architectures a step."""
        return max((len(site.domain.options) for site in self.space.sites.values()), default=1)

    def train(self, x: Tensor, y: Tensor, step: Step) -> float:
        losses = []
        for turn in range(step.number * self.paths, (step.number + 1) * self.paths):
            architecture = self.draw(step.rng, self.wanted(turn))
            losses.append(self.learn(architecture, x, lambda outputs: self.label_loss(outputs, y))[1])
        return sum(losses) / len(losses)

    def wanted(self, turn: int) -> Assignment:
        """The option that the architecture with this number takes at every site."""
        picks = {}
        for path, site in self.space.sites.items():
            count = len(site.domain.options)
            order = list(range(count))
            random.Random(f"{self.seed}/{path}/{turn // count}").shuffle(order)
            picks[path] = order[turn % count]
        return picks

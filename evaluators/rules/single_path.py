"""Uniform sampling of single paths."""

from __future__ import annotations

from torch import Tensor

from archfront.space.spec import Paper

from .rule import Rule, Step


class SinglePath(Rule):
    """Every step trains one random architecture on labels; each option of a site is equally likely."""

    name = "single_path"
    paper = Paper(
        "Single Path One-Shot Neural Architecture Search with Uniform Sampling", "Guo, Zhang, Mu, Heng et al.", 2020
    )

    def train(self, x: Tensor, y: Tensor, step: Step) -> float:
        return self.learn(self.draw(step.rng), x, lambda outputs: self.label_loss(outputs, y))[1]

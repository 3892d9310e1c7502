"""The sandwich rule with in-place distillation."""

from __future__ import annotations

from torch import Tensor

from archfront.space.architecture import Architecture
from archfront.space.spec import Paper

from .rule import Rule, Step, extreme


class Sandwich(Rule):
    """Every step trains the largest architecture on labels, the smallest and `randoms` random ones on what it says.

    The rule is from Yu and Huang, 2019, Universally Slimmable Networks and Improved Training Techniques.
    """

    name = "sandwich"
    paper = Paper(
        "BigNAS: Scaling Up Neural Architecture Search with Big Single-Stage Models",
        "Yu, Jin, Liu, Bender et al.",
        2020,
    )

    def train(self, x: Tensor, y: Tensor, step: Step) -> float:
        largest = extreme(self.space, "largest", step.rng)
        teacher, loss = self.learn(largest, x, lambda outputs: self.label_loss(outputs, y))
        for architecture in self.students(x, y, step):
            self.learn(architecture, x, lambda outputs: self.teacher_loss(outputs, teacher))
        return loss

    def students(self, x: Tensor, y: Tensor, step: Step) -> list[Architecture]:
        """The architectures that learn from the largest one."""
        return [extreme(self.space, "smallest", step.rng), *(self.draw(step.rng) for _ in range(self.randoms))]

    def teacher_loss(self, outputs: Tensor, teacher: Tensor) -> Tensor:
        """How far outputs are from those of the largest architecture."""
        return self.task.distillation_loss(outputs, teacher)

"""Progressive shrinking: first the largest network alone, then kernels, depths and widths become elastic in turn."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from archfront.space.resolve import Assignment
from archfront.space.space import Space
from archfront.space.spec import Paper

from ..kernel_maps import MappedStore
from ..supernet import Supernet
from .rule import Rule, Step, ends, extreme

PHASES = (("kernel",), ("depth",))
"""Names of the sites that open in the second and in the third quarter; all others open in the last."""


class ProgressiveShrinking(Rule):
    """The training in four quarters: the largest architecture; elastic kernels; also depths; also everything else.

    In the first quarter the largest option is taken at every ordered site, later only at those of kinds that have not
    opened yet (a kind is the last word of a site's path). Unordered sites (operators, gates) are drawn all along. After
    the first quarter the weights are copied, and every step trains `randoms` architectures (one at least) on labels and,
    equally, on what the largest one says with the copied weights. Kernels are mapped to smaller ones by trained matrices.
    The paper has its own learning rates and epochs for every phase; here one schedule serves all.
    """

    name = "progressive"
    paper = Paper(
        "Once-for-All: Train One Network and Specialize it for Efficient Deployment",
        "Cai, Gan, Wang, Zhang & Han",
        2020,
    )

    def __init__(self, supernet: Supernet, *args: Any, **options: Any) -> None:
        super().__init__(supernet, *args, **options)
        self.teacher = Supernet(supernet.space, device=supernet.device, store=type(supernet.store))
        self.copied = torch.zeros((), dtype=torch.int64)

    @classmethod
    def make_supernet(cls, space: Space, seed: int = 0, device: torch.device | str = "cpu") -> Supernet:
        """The supernet that this rule trains."""
        return Supernet(space, seed, device, store=MappedStore)

    @property
    def buffers(self) -> dict[str, Tensor]:
        """The teacher's weights, and whether they were copied yet."""
        weights = {f"teacher/{name}": value for name, value in self.teacher.store.state_dict().items()}
        return {**weights, "copied": self.copied}

    def train(self, x: Tensor, y: Tensor, step: Step) -> float:
        if self.phase(step.progress) == 0:
            largest = extreme(self.space, "largest", step.rng)
            return self.learn(largest, x, lambda outputs: self.label_loss(outputs, y))[1]
        answers = self.ask(x, step)
        losses = []
        for _ in range(max(1, self.randoms)):
            architecture = self.draw(step.rng, self.closed(self.phase(step.progress)))
            losses.append(self.learn(architecture, x, lambda outputs: self.both_losses(outputs, y, answers))[1])
        return sum(losses) / len(losses)

    def phase(self, progress: float) -> int:
        """0 to 3: how many kinds of sites have opened."""
        return int(progress * (len(PHASES) + 2))

    def closed(self, phase: int) -> Assignment:
        """The largest option at every ordered site that has not opened in this phase."""
        opened = {kind for kinds in PHASES[:phase] for kind in kinds}
        return {
            path: index
            for path, index in ends(self.space, "largest").items()
            if phase <= len(PHASES) and path.rpartition(".")[2] not in opened
        }

    @torch.no_grad()
    def ask(self, x: Tensor, step: Step) -> Tensor:
        """What the largest architecture says about a batch, with the weights of the end of the first phase."""
        if not self.copied:
            self.teacher.store.load_state_dict(self.supernet.store.state_dict())
            self.copied.fill_(1)
        with torch.autocast(x.device.type, torch.bfloat16, enabled=x.device.type == "cuda"):
            return self.teacher.candidate(extreme(self.space, "largest", step.rng)).train()(x).float()

    def both_losses(self, outputs: Tensor, y: Tensor, answers: Tensor) -> Tensor:
        """The loss on labels and the one on the teacher's answers."""
        return self.label_loss(outputs, y) + self.task.distillation_loss(outputs, answers)

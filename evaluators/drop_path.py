"""ScheduledDropPath: stochastic depth that grows in the course of training.

Zoph et al., 2018, Learning Transferable Architectures for Scalable Image Recognition: dropping paths with a fixed
probability hurts networks of search cells, dropping them ever more often helps.
"""

from __future__ import annotations

from torch import Tensor, nn

from archfront.space.library.layers import DropPath

from .train import StepLoss


class ScheduledDropPath:
    """A step loss during which a network drops paths with a probability that rises linearly, from 0 at the first step.

    Every block of the library that has residual branches or paths takes part, whether or not its own `drop_path` is 0;
    each path is dropped for each image by itself. The probability follows from the number of the step, so a training
    that resumes goes on with the right one. Make one for a fresh network, whose probabilities it changes.

    Args:
        step_loss: computes and back-propagates the loss of a batch through `network`.
        network: what is trained.
        steps: of the whole training.
        rate: probability in the last cell or block at the last step; those before it get less in proportion to their
            number. None takes what the blocks were made with.
    """

    def __init__(self, step_loss: StepLoss, network: nn.Module, steps: int, rate: float | None = None) -> None:
        self.step_loss = step_loss
        self.steps = steps
        self.paths = [module for module in network.modules() if isinstance(module, DropPath)]
        count = len(self.paths)
        self.last = [path.rate if rate is None else rate * (i + 1) / count for i, path in enumerate(self.paths)]

    def __call__(self, x: Tensor, y: Tensor, step: int) -> float:
        progress = min(1.0, step / max(1, self.steps - 1))
        for path, last in zip(self.paths, self.last, strict=True):
            path.rate = progress * last
        return self.step_loss(x, y, step)

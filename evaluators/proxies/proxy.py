"""What a zero-cost proxy is: a score of an untrained network, from one batch at most."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from archfront.hw_profiles.metrics import METRICS, Metric
from archfront.space.spec import Paper

from ..task import Task


class Batch(NamedTuple):
    """What a proxy may look at: images (N, C, H, W), targets (N,), and the task that gives the loss."""

    x: Tensor
    y: Tensor
    task: Task


Score = Callable[[nn.Module, Batch], float]
"""Scores a network that was just built, in training mode; may change it. Higher promises more."""


@dataclass(frozen=True)
class Proxy:
    """A score with its metric and its paper."""

    metric: Metric
    paper: Paper
    score: Score


PROXIES: dict[str, Proxy] = {}
"""Every proxy by the name of its metric."""


def proxy(name: str, title: str, paper: Paper) -> Callable[[Score], Score]:
    """Register a score, and its metric, under a name."""

    def register(score: Score) -> Score:
        METRICS[name] = Metric(name, title, "max", (("", 1.0),), 4)
        PROXIES[name] = Proxy(METRICS[name], paper, score)
        return score

    return register


def weights(network: nn.Module) -> list[nn.Parameter]:
    """The parameters with two dimensions or more: of convolutions and linear maps; no biases, nothing of norms."""
    return [parameter for parameter in network.parameters() if parameter.dim() > 1]


@contextmanager
def without_norms(network: nn.Module) -> Iterator[None]:
    """Inside, batch, instance, layer and group normalisations give back what they are fed."""
    norms = [m for m in network.modules() if isinstance(m, (_NormBase, nn.LayerNorm, nn.GroupNorm))]
    for norm in norms:
        norm.forward = _same  # type: ignore[method-assign]  # not run at all: a single value has no statistics
    try:
        yield
    finally:
        for norm in norms:
            del norm.forward


def _same(x: Tensor) -> Tensor:
    return x

"""Zen score: how much the features of a random network change with its input."""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from archfront.space.spec import Paper

from .proxy import Batch, proxy, weights

PAPER = Paper("Zen-NAS: A Zero-Shot NAS for High-Performance Image Recognition", "Lin, Wang, Sun, Chen et al.", 2021)

STEP = 0.01
REPEATS, IMAGES = 4, 16
"""Random networks that the score is an average over, and random images each."""


@proxy("zen", "Zen score", PAPER)
@torch.no_grad()
def zen(network: nn.Module, batch: Batch) -> float:
    """log E ||f(x) - f(x + 0.01 e)|| + the sum over batch normalisations of log of the deviation they divide by.

    f is what comes before the head; weights, x and e are standard normal, biases 0, data are not looked at. The second
    summand gives back the scale that batch normalisation takes away: its deviation is the root of the mean variance over
    channels. The paper takes residual links and gates out of the network first, which is not possible in general: here
    they stay. Averaged over `REPEATS` draws; -inf where f is constant.
    """
    generator = Generator().manual_seed(0)
    return sum(_draw(network, batch.x[:IMAGES], generator) for _ in range(REPEATS)) / REPEATS


def _draw(network: nn.Module, like: Tensor, generator: Generator) -> float:
    for parameter in weights(network):
        parameter.copy_(torch.randn(parameter.shape, generator=generator))
    for module in network.modules():
        if isinstance(getattr(module, "bias", None), Tensor):
            nn.init.zeros_(module.bias)  # type: ignore[arg-type]
    x, e = torch.randn(2, *like.shape, generator=generator).to(like.device)
    logs: list[float] = []

    def measure(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        spread = inputs[0].transpose(0, 1).flatten(1).var(dim=1, correction=0).mean()
        logs.append(0.5 * math.log(float(spread)) if spread > 0 else -math.inf)

    norms = [module for module in network.modules() if isinstance(module, _BatchNorm)]
    handles = [norm.register_forward_pre_hook(measure) for norm in norms]
    here = _features(network, x)
    for handle in handles:
        handle.remove()
    change = float((here - _features(network, x + STEP * e)).flatten(1).norm(dim=1).mean())
    return (math.log(change) if change > 0 else -math.inf) + sum(logs)


def _features(network: nn.Module, x: Tensor) -> Tensor:
    """What the head is fed; of several maps the last."""
    maps: Tensor | tuple[Tensor, ...] = network.stages(network.stem(x))  # type: ignore[operator]
    return maps if isinstance(maps, Tensor) else maps[-1]

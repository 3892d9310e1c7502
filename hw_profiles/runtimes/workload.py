"""What is measured: a spec with its input type, the fixed probes, and the example by which conversions are judged."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from archfront.space.spec import Spec
from archfront.space.types import Feature, FeatureType, Image

Workload = tuple[Spec, FeatureType]
"""What is timed: a spec and what it is fed. Weights do not matter to latency, so there are none here."""


class Probe(Spec, kind="probe"):
    """A fixed workload that measuring itself needs; no block, so not registered. Its input type is always `INPUT`."""

    INPUT: ClassVar[Feature] = Image(16, 24, 24)

    def output(self, x: Feature) -> Feature:
        return x


class Reference(Probe, kind="probe"):
    """The network in every run by which drift is noticed and levels of different runs are compared."""

    def build(self, x: Feature) -> nn.Module:
        layers: list[nn.Module] = []
        for _ in range(4):
            layers += [nn.Conv2d(16, 96, 1), nn.ReLU(), nn.Conv2d(96, 96, 3, padding=1, groups=96), nn.ReLU()]
            layers += [nn.Conv2d(96, 16, 1)]
        return nn.Sequential(*layers)


class Overhead(Probe, kind="probe"):
    """Next to nothing: what is left is the price of calling the runtime once."""

    def build(self, x: Feature) -> nn.Module:
        return nn.ReLU()


class Computing(Probe, kind="probe"):
    """A convolution that keeps the multipliers busy: what a device can compute at best."""

    INPUT: ClassVar[Feature] = Image(128, 28, 28)
    AMOUNT: ClassVar[int] = 2 * 9 * 128 * 128 * 28 * 28
    """Operations, two for every multiply-add."""

    def build(self, x: Feature) -> nn.Module:
        return nn.Conv2d(128, 128, 3, padding=1, bias=False)


class Streaming(Probe, kind="probe"):
    """Reads more than caches hold and writes next to nothing: what a device can fetch at best from its memory."""

    INPUT: ClassVar[Feature] = Image(64, 512, 512)
    AMOUNT: ClassVar[int] = 64 * 512 * 512
    """Numbers read."""

    def output(self, x: Feature) -> Feature:
        return x.at(stride=x.size[0])

    def build(self, x: Feature) -> nn.Module:
        return nn.AdaptiveAvgPool2d(1)


class CacheStreaming(Streaming, kind="probe"):
    """Reads what every cache holds."""

    INPUT: ClassVar[Feature] = Image(64, 64, 64)
    AMOUNT: ClassVar[int] = 64 * 64 * 64


PROBES: dict[str, type[Probe]] = {
    probe.__name__: probe for probe in (Reference, Overhead, Computing, Streaming, CacheStreaming)
}


def example_module(workload: Workload, batch: int = 1) -> tuple[nn.Module, tuple[Any, ...]]:
    """The module in evaluation mode, and the arguments of one call: `batch` random inputs.

    Vectors of parameters are shifted at random: a branch that starts at scale 0, as residual branches often do, would
    hide a wrong conversion. The same workload always gives the same numbers; the global generator is left as it was.
    """
    spec, x = workload
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        module = spec.build(x).eval()
        for parameter in module.parameters():
            if parameter.squeeze().dim() <= 1:
                parameter.add_(torch.rand_like(parameter) - 0.5)
        return module, x.arguments(batch)


def tensors(value: Any) -> list[Tensor]:
    """The tensors that a module takes or returns, in order."""
    return [value] if isinstance(value, Tensor) else [t for item in value for t in tensors(item)]


def nested(value: Any, change: Callable[[Tensor], Any]) -> Any:
    """The same tuples and lists with every tensor changed."""
    return change(value) if isinstance(value, Tensor) else tuple(nested(item, change) for item in value)

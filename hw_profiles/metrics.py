"""Metrics and measurements: what is measured, in which unit, and how the number was got."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from archfront.space.errors import ArchfrontError, nearest

Provenance = Literal["exact", "measured", "predicted", "modelled"]


COUNT = (("", 1.0), ("K", 1e3), ("M", 1e6), ("G", 1e9))
BYTES = (("B", 1.0), ("KiB", 2.0**10), ("MiB", 2.0**20), ("GiB", 2.0**30))


@dataclass(frozen=True)
class Metric:
    """A quantity that architectures are compared by.

    `units` are (name, size) pairs in increasing order; `format` takes the largest one that leaves a number of at least
    1, so params of 5_300_000 print as "5.3 M".
    """

    name: str
    title: str
    direction: Literal["min", "max"]
    units: tuple[tuple[str, float], ...]
    digits: int = 3
    """significant digits printed"""

    def unit_for(self, value: float) -> tuple[str, float]:
        """The unit in which `value` is written, and its size in the base unit."""
        return next((unit for unit in reversed(self.units) if abs(value) >= unit[1]), self.units[0])

    def format(self, value: float) -> str:
        """`value` in the unit that suits it, for people."""
        unit, size = self.unit_for(value)
        number = value / size
        text = f"{number:.{self.digits}g}" if abs(number) < 10**self.digits else f"{number:,.0f}"
        return f"{text} {unit}".strip()

    def better(self, a: float, b: float) -> bool:
        """Whether `a` is strictly better than `b`."""
        return a < b if self.direction == "min" else a > b


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("macs", "FLOPs (multiply-adds)", "min", COUNT, 4),
        Metric("params", "Parameters", "min", COUNT, 4),
        Metric("activations", "Activations", "min", COUNT, 4),
        Metric("peak_bytes", "Peak activation memory", "min", BYTES, 4),
        Metric("latency_ms", "Latency", "min", (("ms", 1.0),)),
        Metric("predicted_latency_ms", "Predicted latency", "min", (("ms", 1.0),)),
        Metric("energy_mj", "Energy", "min", (("mJ", 1.0),)),
        Metric("supernet_accuracy", "Supernet estimate (validation)", "max", (("%", 0.01),), 4),
        Metric("supernet_loss", "Supernet loss (validation)", "min", (("", 1.0),), 4),
        Metric("block_agreement", "Block agreement (no labels)", "max", (("", 1.0),), 4),
        Metric("alone_accuracy", "Accuracy trained alone (validation)", "max", (("%", 0.01),), 4),
        Metric("stopped_epochs", "Training stopped early after", "max", (("epochs", 1.0),)),
        Metric("accuracy", "Fine-tuned accuracy (validation)", "max", (("%", 0.01),), 4),
        Metric("float_accuracy", "Accuracy before int8 (validation)", "max", (("%", 0.01),), 4),
        Metric("test_accuracy", "Test accuracy", "max", (("%", 0.01),), 4),
    )
}


def metric(name: str) -> Metric:
    """The metric called `name`; `flops` is another name of `macs`, as fvcore and most papers use it."""
    name = "macs" if name == "flops" else name
    if name not in METRICS:
        raise ArchfrontError(f"unknown metric {name!r}{nearest(name, METRICS)}")
    return METRICS[name]


@dataclass(frozen=True)
class Measurement:
    """The value of a metric and how it was got.

    Args:
        value: in the base unit of the metric (multiply-adds, bytes, milliseconds, a fraction in [0, 1]).
        provenance: "exact" (counted), "measured", "predicted" (from measurements, with a known error), or "modelled"
            (from a description of hardware that nobody measured).
        spread: half-width of the 95 % interval around `value`, same unit; None where there is none to give.
        samples: how many single observations stand behind it.
    """

    value: float
    provenance: Provenance
    spread: float | None = None
    samples: int = 1

    def to_dict(self) -> dict[str, Any]:
        """Plain data; `Measurement(**data)` reads it back."""
        return asdict(self)

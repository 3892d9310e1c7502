"""Metrics and measurements: what is measured, in which unit, and how the number was got."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from archfront.space.errors import ArchfrontError, nearest

Provenance = Literal["exact", "measured", "predicted"]


@dataclass(frozen=True)
class Metric:
    """A quantity that architectures are compared by.

    `scale` and `unit` say how it is printed: `format(5_300_000)` of params (scale 1e6, unit "M") is "5.3 M".
    """

    name: str
    title: str
    direction: Literal["min", "max"]
    unit: str = ""
    scale: float = 1.0
    digits: int = 3
    """significant digits printed"""

    def format(self, value: float) -> str:
        """`value` in the metric's unit, for people."""
        number = value / self.scale
        text = f"{number:.{self.digits}g}" if abs(number) < 10**self.digits else f"{number:,.0f}"
        return f"{text} {self.unit}".strip()

    def better(self, a: float, b: float) -> bool:
        """Whether `a` is strictly better than `b`."""
        return a < b if self.direction == "min" else a > b


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("macs", "FLOPs (multiply-adds)", "min", "M", 1e6, 4),
        Metric("params", "Parameters", "min", "M", 1e6, 4),
        Metric("activations", "Activations", "min", "M", 1e6, 4),
        Metric("peak_bytes", "Peak activation memory", "min", "MiB", 2**20, 4),
        Metric("latency_ms", "Latency", "min", "ms"),
        Metric("predicted_latency_ms", "Predicted latency", "min", "ms"),
        Metric("energy_mj", "Energy", "min", "mJ"),
        Metric("supernet_accuracy", "Supernet estimate (validation)", "max", "%", 0.01, 4),
        Metric("accuracy", "Fine-tuned accuracy (validation)", "max", "%", 0.01, 4),
        Metric("test_accuracy", "Test accuracy", "max", "%", 0.01, 4),
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
        provenance: "exact" (counted), "measured", or "predicted" (with a known error).
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

"""Budgets: bounds on metrics, written the way people say them ("latency<=5ms, params<=2M")."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from archfront.hw_profiles.metrics import METRICS, Metric, metric
from archfront.space.errors import ArchfrontError, nearest


class BudgetError(ArchfrontError, ValueError):
    """A budget that cannot be read, or that nothing in the space can meet."""


ALIASES = {
    "latency": "latency_ms",
    "flops": "macs",
    "memory": "peak_bytes",
    "parameters": "params",
}

_COUNT = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9}
_TIME = {"": 1.0, "ms": 1.0, "us": 1e-3, "µs": 1e-3, "s": 1e3}
_BYTES = {"": 1.0, "b": 1.0, "kb": 1e3, "mb": 1e6, "gb": 1e9, "kib": 2**10, "mib": 2**20, "gib": 2**30}
_SHARE = {"": 1.0, "%": 0.01}

_UNITS = {
    "latency_ms": _TIME,
    "params": _COUNT,
    "macs": _COUNT,
    "activations": _COUNT,
    "peak_bytes": _BYTES,
    "accuracy": _SHARE,
}
"""The metrics that may be bounded, with their units: a search finds out all of them, so that no bound goes unjudged."""

_BOUND = re.compile(r"^\s*([A-Za-z_]+)\s*(<=|>=|<|>|≤|≥)\s*([0-9.]+(?:e[+-]?[0-9]+)?)\s*([^\s0-9]*)\s*$", re.IGNORECASE)


@dataclass(frozen=True)
class Bound:
    """What a metric has to keep: low <= value <= high, in the metric's base unit."""

    metric: str
    low: float = -math.inf
    high: float = math.inf

    @property
    def what(self) -> Metric:
        """The bounded metric."""
        return metric(self.metric)

    def holds(self, value: float) -> bool:
        """Whether `value` keeps the bound; a missing value (NaN) does not."""
        return self.low <= value <= self.high

    def excess(self, value: float) -> float:
        """By how much `value` breaks the bound, relative to the bound; 0 where it holds."""
        if value > self.high:
            return (value - self.high) / max(abs(self.high), 1e-12)
        if value < self.low:
            return (self.low - value) / max(abs(self.low), 1e-12)
        return 0.0

    def __str__(self) -> str:
        sides = []
        if self.low > -math.inf:
            sides.append(f"{self.metric} >= {self.what.format(self.low)}")
        if self.high < math.inf:
            sides.append(f"{self.metric} <= {self.what.format(self.high)}")
        return " and ".join(sides)


@dataclass(frozen=True)
class Budget:
    """Bounds on metrics, at most one pair a metric."""

    bounds: tuple[Bound, ...] = ()

    @staticmethod
    def parse(text: str) -> Budget:
        """Read "latency<=5ms, params<=2M, flops<=30M, memory<=1MiB, accuracy>=90%"; an empty text is no bound.

        `latency` is in ms unless a unit is given, counts take K, M, G, memory B to GiB, accuracies % or a fraction.
        Bounds are inclusive: "<" means "<=".

        Raises:
            BudgetError: a bound that cannot be read, or on what a search does not measure.
        """
        found: dict[str, Bound] = {}
        for item in filter(str.strip, text.split(",")):
            name, low, high = _parse_bound(item)
            old = found.get(name, Bound(name))
            found[name] = Bound(name, max(old.low, low), min(old.high, high))
            if found[name].low > found[name].high:
                raise BudgetError(
                    f"budget: no {name} is both at least {found[name].low:g} and at most {found[name].high:g}"
                )
        return Budget(tuple(found.values()))

    def __getitem__(self, name: str) -> Bound:
        return next((bound for bound in self.bounds if bound.metric == name), Bound(name))

    def broken(self, values: Mapping[str, float]) -> list[Bound]:
        """The bounds that `values` breaks; metrics that `values` lacks are not judged."""
        return [bound for bound in self.bounds if bound.metric in values and not bound.holds(values[bound.metric])]

    def __str__(self) -> str:
        return ", ".join(map(str, self.bounds)) or "none"


def _parse_bound(item: str) -> tuple[str, float, float]:
    match = _BOUND.match(item)
    if match is None:
        raise BudgetError(f"budget: cannot read {item.strip()!r}; write it like latency<=5ms or params<=2M")
    word, sign, number, unit = match.groups()
    name = ALIASES.get(word.lower(), word.lower())
    if name not in _UNITS:
        what = f"a search does not measure {word!r} of every network" if name in METRICS else f"unknown metric {word!r}"
        raise BudgetError(f"budget: {what}{nearest(word.lower(), {*_UNITS, *ALIASES})}")
    units = _UNITS[name]
    if unit.lower() not in units:
        known = ", ".join(filter(None, units))
        raise BudgetError(f"budget: {word} is not measured in {unit!r}; units: {known}")
    try:
        value = float(number) * units[unit.lower()]
    except ValueError:
        raise BudgetError(f"budget: {number!r} in {item.strip()!r} is not a number") from None
    if units is _SHARE and value > 1:
        raise BudgetError(
            f"budget: {item.strip()!r} asks for {100 * value:g} %; write it like accuracy>=90% or accuracy>=0.9"
        )
    if sign in ("<=", "<", "≤"):
        return name, -math.inf, value
    return name, value, math.inf

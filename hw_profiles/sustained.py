"""Sustained latency: what is left of the best case once a board or a phone has become hot.

The best case of interleaved runs is the right figure for ranking, and hides throttling: the device rests between the
visits of a model. Here one model at a time runs without a pause, after the device has cooled down from the one before.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from archfront.hw_profiles.metrics import Measurement
from archfront.space.architecture import Architecture

from .intervals import Array
from .profile import LatencyError, Profile
from .protocol import Progress, prepare
from .runtimes import Workload
from .transport import Launch, at
from .worker import Endurance

MINUTE = 60.0
THROTTLED = 1.05
"""Sustained over first-minute latency above which a device is said to throttle."""

TOLERATED = 2.0
"""Degrees above the first model's start at which the next may start."""


@dataclass(frozen=True)
class Window:
    """Runs that followed each other: seconds since the start at their end, nanoseconds each, temperature at the end."""

    seconds: float
    wall: tuple[int, ...] = field(repr=False)
    celsius: float | None

    @property
    def ms(self) -> float:
        """Median run."""
        return float(np.median(self.wall)) / 1e6


@dataclass(frozen=True)
class SustainedResult:
    """One model, run without a pause.

    Args:
        name: of the model.
        profile: digest of the profile.
        cooled: seconds that the device was given to cool down before.
        celsius: its temperature before the first run, None without a sensor.
        windows: all that was timed, in order.
    """

    name: str
    profile: str
    cooled: float
    celsius: float | None
    windows: tuple[Window, ...]

    @property
    def seconds(self) -> float:
        """How long it ran."""
        return self.windows[-1].seconds

    def _runs(self, low: float, high: float) -> Array:
        runs = [window.wall for window in self.windows if low < window.seconds <= high]
        return np.concatenate(runs or [self.windows[0].wall]) / 1e6

    @cached_property
    def first_ms(self) -> float:
        """Median run of the first minute, or of the first third where that is shorter."""
        return float(np.median(self._runs(0.0, min(MINUTE, self.seconds / 3))))

    @cached_property
    def sustained_ms(self) -> float:
        """Median run of the last third."""
        return float(np.median(self._runs(2 / 3 * self.seconds, self.seconds)))

    @property
    def slowdown(self) -> float:
        """Sustained latency over that of the first minute."""
        return self.sustained_ms / self.first_ms

    @property
    def throttled(self) -> bool:
        """Whether heat, or whatever else, slowed the device down."""
        return self.slowdown > THROTTLED

    @property
    def hottest(self) -> float | None:
        """The highest temperature that was read."""
        return max((w.celsius for w in self.windows if w.celsius is not None), default=None)

    def percentile(self, percent: float) -> float:
        """A percentile of the runs of the last third in milliseconds."""
        return float(np.percentile(self._runs(2 / 3 * self.seconds, self.seconds), percent))

    def measurement(self) -> Measurement:
        """The sustained latency; its spread is that of the medians of windows, 1.96 standard deviations."""
        last = [window for window in self.windows if window.seconds > 2 / 3 * self.seconds]
        spread = 1.96 * float(np.std([window.ms for window in last], ddof=1)) if len(last) > 1 else None
        return Measurement(self.sustained_ms, "measured", spread, sum(len(window.wall) for window in last))

    def __str__(self) -> str:
        heat = f", {self.celsius:.0f} to {self.hottest:.0f} °C" if self.celsius and self.hottest else ""
        return (
            f"{self.name}: {self.first_ms:.4g} ms in the first minute, {self.sustained_ms:.4g} ms sustained "
            f"({self.slowdown - 1:+.1%} over {self.seconds:.0f} s{heat})"
        )


def sustain(
    candidates: Mapping[str, Workload | Architecture],
    profile: Profile,
    seconds: float = 300.0,
    cool_seconds: float = 120.0,
    seed: int = 0,
    progress: Progress | None = None,
) -> dict[str, SustainedResult]:
    """Run every candidate without a pause on the device of the profile, one after the other.

    Args:
        candidates: by name, an architecture or a spec with its input type.
        profile: of the device.
        seconds: of running a candidate.
        cool_seconds: longest cool-down between two; the whole of it where the device has no thermometer.
        seed: of the order.
        progress: told about every model prepared and every one run.

    Raises:
        LatencyError: as `measure`.
    """
    if not (seconds > 0 and cool_seconds >= 0):
        raise LatencyError(f"seconds must be positive, got {seconds!r} and {cool_seconds!r} for cooling down")
    device = at(profile)
    order = list(candidates)
    random.Random(seed).shuffle(order)
    results: dict[str, SustainedResult] = {}
    with tempfile.TemporaryDirectory(prefix="archfront-sustained-") as name:
        folder = Path(name)
        prepared = prepare(candidates, profile, folder, progress)
        for index, candidate in enumerate(order):
            if progress:
                progress(index, len(order), f"running {candidate} for {seconds:.0f} s")
            with device.launcher({candidate: prepared[candidate]}, profile, folder) as launch:
                results[candidate] = endure(launch, candidate, profile, seconds, cool_seconds, [*results.values()])
    return {candidate: results[candidate] for candidate in candidates}


def endure(
    launch: Launch,
    name: str,
    profile: Profile,
    seconds: float,
    cool_seconds: float,
    before: list[SustainedResult],
) -> SustainedResult:
    """Run one model without a pause; `before` are the results of those that ran before it, which made the heat."""
    start = before[0].celsius if before else None
    cool_to = None if not before else -100.0 if start is None else start + TOLERATED
    found = launch(Endurance(seconds, cool_to=cool_to, cool_seconds=cool_seconds))
    return SustainedResult(
        name, profile.digest, found["cooled"], found["celsius"], tuple(map(_window, found["windows"]))
    )


def _window(found: Mapping[str, Any]) -> Window:
    return Window(found["seconds"], tuple(found["wall"]), found["celsius"])

"""Whether intervals of paired latency ratios hold what they promise, on a simulated device whose truth is known.

python benchmarks/coverage.py [--quick] [--seed N] [--json FILE]
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from _common import Figures, Run, main

from archfront.hw_profiles.profile import Profile, local_profile
from archfront.hw_profiles.protocol import (
    REFERENCE,
    LatencyResult,
    Schedule,
    collect,
    compare,
    neighbours,
    summarise,
)
from archfront.hw_profiles.simulated import SimulatedDevice


@dataclass(frozen=True)
class Condition:
    """What a trial is like: the device's settings, the true ratio, and what ends the measuring."""

    device: Mapping[str, float] = field(default_factory=dict)
    ratio: float = 1.04
    until_decided: bool = False


CONDITIONS = {
    "drift of 10 % and bursts of 30 to 60 %": Condition(),
    "quiet": Condition({"bursts": 0.0, "drift": 0.0}),
    "bursts of 200 to 400 %, every 15 ms": Condition({"bursts": 2.0, "idle_ms": 15.0}),
    "drift of 50 %": Condition({"drift": 0.5}),
    "processes that differ by 2 %": Condition({"placement": 0.02}),
    "measured until decided": Condition(until_decided=True),
    "measured until decided, though equal": Condition(ratio=1.0, until_decided=True),
}


def trial(condition: Condition, seed: int, profile: Profile) -> dict[str, LatencyResult]:
    """Two models `a` and `b`, measured on a new device."""
    truth = {"a": 0.5 * condition.ratio, "b": 0.5, REFERENCE: 0.4}
    device = SimulatedDevice(truth, seed, **condition.device)
    target = 1e-6 if condition.until_decided else 10.0
    schedule = Schedule(processes=3, rounds=12, target=target, warm_ms=1.0)
    relevance = neighbours if condition.until_decided else None
    processes = collect(device.launch, schedule, now=lambda: device.ns / 1e9, relevance=relevance)
    return summarise(processes, profile, schedule, dict.fromkeys(truth, "none"))


def figures(condition: Condition, trials: int, seed: int, profile: Profile) -> dict[str, Any]:
    covered, decided, width, processes = 0, 0, 0.0, 0
    for index in range(trials):
        results = trial(condition, seed + index, profile)
        found = compare(results["a"], results["b"])
        covered += found.low <= condition.ratio <= found.high
        decided += not found.tie
        width += (found.high - found.low) / 2 / found.ratio
        processes += len(results["a"].samples)
    return {
        "true ratio": condition.ratio,
        "trials": trials,
        "covered_percent": 100 * covered / trials,
        "decided_percent": 100 * decided / trials,
        "half_width_percent": 100 * width / trials,
        "processes": processes / trials,
    }


def run(options: Run) -> Figures:
    profile, trials = local_profile(), 40 if options.quick else 500
    rows = [
        {"device": name, **figures(condition, trials, options.seed, profile)} for name, condition in CONDITIONS.items()
    ]
    return {
        "least_covered_percent": min(row["covered_percent"] for row in rows),
        "most_covered_percent": max(row["covered_percent"] for row in rows),
        "intervals of the ratio of two latencies": rows,
    }


if __name__ == "__main__":
    main("coverage", "95 % intervals of paired latency ratios hold the truth in 90 to 99 % of trials.", run)

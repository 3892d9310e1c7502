"""How well latency rankings repeat: our protocol against timing one network after the other.

    python benchmarks/latency.py [--quick] [--seed N] [--json FILE]

The networks differ by one small block at their end, which is about 1 %, so their true order is known. Independent passes
of both ways take turns, on the machine as it is and beside two processes that compute in bursts; both get the same
number of timed runs.
"""

from __future__ import annotations

import contextlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from _common import Figures, Run, main

from archfront.hw_profiles import worker
from archfront.hw_profiles.calibration import kendall
from archfront.hw_profiles.profile import Profile, profile
from archfront.hw_profiles.protocol import (
    REFERENCE,
    LatencyResult,
    Schedule,
    collect,
    compare,
    prepare,
    summarise,
)
from archfront.hw_profiles.runtimes import Prepared, Probe, Reference
from archfront.hw_profiles.transport import Local
from archfront.space.architecture import Architecture
from archfront.space.library.block.mbconv import MBConv
from archfront.space.library.head.classifier import Classifier
from archfront.space.library.stem.convolution import ConvStem
from archfront.space.network import Network, Stage
from archfront.space.types import Image

Pass = dict[str, float]
"""One number a network, by which a protocol ranks it."""

OURS = "interleaved, fresh processes"

LEVELLED = f"{OURS}, over the reference network"
"""The same as multiples of the reference network in the same run, so that the level of the machine does not count."""

TARGET = 0.005
"""Half-width of the intervals that is asked for: networks differ by about 1 %."""


def network(tail: int) -> Architecture:
    """A network of inverted residuals that ends in `tail` small ones; each adds about 1 % to its latency."""
    body, small = MBConv(kernel=5, expand=4), MBConv(kernel=3, expand=2)
    stages = (
        Stage(width=24, depth=3, stride=2, block=body),
        Stage(width=48, depth=2, stride=2, block=body),
        Stage(width=32, depth=tail, stride=2, block=small),
    )
    return Architecture(
        Image(3, 128, 128), Network(stem=ConvStem(width=16), stages=stages, head=Classifier(classes=10))
    )


HOG = """
import numpy, random, time
a = numpy.random.rand(400, 400)
while True:
    end = time.monotonic() + random.uniform(0.05, 0.3)
    while time.monotonic() < end:
        a @ a
    time.sleep(random.uniform(0.05, 0.3))
"""


def in_turn(sessions: Mapping[str, worker.Session], runs: Mapping[str, int]) -> dict[str, list[int]]:
    """Ten warm-up runs of a network, then all its timed runs, then the next network: what most tools do."""
    times: dict[str, list[int]] = {}
    for name, session in sessions.items():
        for _ in range(10):
            session()
        times[name] = []
        for _ in range(runs[name]):
            begin = time.perf_counter_ns()
            session()
            times[name].append(time.perf_counter_ns() - begin)
    return times


@contextlib.contextmanager
def busy(count: int) -> Iterator[None]:
    """Processes beside this one that multiply matrices in bursts."""
    hogs = [subprocess.Popen([sys.executable, "-c", HOG]) for _ in range(count)]
    try:
        yield
    finally:
        for hog in hogs:
            hog.kill()
            hog.wait()


@dataclass
class Passes:
    """What independent passes found.

    Args:
        values: by protocol, one a pass.
        orders: the pairs that our protocol decided, one mapping a pass: whether the first is the faster one, as it is.
        noisy: passes that the health gate marked.
    """

    values: dict[str, list[Pass]] = field(default_factory=dict)
    orders: list[dict[tuple[str, str], bool]] = field(default_factory=list)
    noisy: int = 0

    def take(self, results: Mapping[str, LatencyResult], loop: Mapping[str, Sequence[int]]) -> None:
        """Add a pass of both."""
        for label, statistic in (("mean", statistics.fmean), ("median", statistics.median), ("minimum", min)):
            values = {name: float(statistic(times)) / 1e6 for name, times in loop.items()}
            self.values.setdefault(f"one after the other: {label}", []).append(values)
        ours = {name: result.value_ms for name, result in results.items()}
        self.values.setdefault(OURS, []).append(ours)
        level = next(iter(results.values())).health.reference_ms
        self.values.setdefault(LEVELLED, []).append({name: value / level for name, value in ours.items()})
        pairs = {(a, b): compare(results[a], results[b]) for a, b in combinations(results, 2)}
        self.orders.append({pair: found.ratio < 1 for pair, found in pairs.items() if not found.tie})
        self.noisy += any(result.noisy for result in results.values())

    def rows(self, load: str) -> list[dict[str, Any]]:
        return [{"load": load, "protocol": name, **agreement(values)} for name, values in self.values.items()]

    def decisions(self, load: str) -> dict[str, Any]:
        """How many pairs our protocol decided, how many of these wrongly, and how often two passes contradict each other."""
        both = [(a[pair], b[pair]) for a, b in combinations(self.orders, 2) for pair in a.keys() & b.keys()]
        nets = len(next(iter(self.values.values()))[0])
        return {
            "load": load,
            "decided_percent": 100 * statistics.fmean(len(order) for order in self.orders) / (nets * (nets - 1) / 2),
            "wrong_percent": 100 * statistics.fmean(not first for order in self.orders for first in order.values()),
            "contradictions_percent": 100 * sum(a != b for a, b in both) / max(1, len(both)),
            "noisy_passes": self.noisy,
        }


def agreement(passes: list[Pass]) -> dict[str, float]:
    """How passes of one protocol agree.

    Rank correlation of all pairs of passes, that of passes with the true order, in which the networks are listed, and
    how far a network's value lies from its median over passes.
    """
    table = np.array([list(each.values()) for each in passes])
    truth = np.arange(table.shape[1], dtype=float)
    taus = [kendall(a, b) for a, b in combinations(table, 2)]
    deviation = 100 * np.abs(table / np.median(table, axis=0) - 1)
    return {
        "tau": float(np.mean(taus)),
        "worst_tau": min(taus),
        "tau_to_truth": float(np.mean([kendall(row, truth) for row in table])),
        "deviation_percent": float(deviation.mean()),
        "largest_percent": float(deviation.max()),
    }


def one_pass(prepared: Mapping[str, Prepared], here: Profile, folder: Path, schedule: Schedule) -> tuple[Any, Any]:
    """A pass of our protocol, and one of a loop with as many runs of every network."""
    with Local().launcher(prepared, here, folder) as launch:
        processes = collect(launch, schedule)
    results = summarise(processes, here, schedule, {name: each.converter for name, each in prepared.items()})
    sessions = {name: worker.load_onnx(prepared[name].model, here.threads) for name in results}
    return results, in_turn(sessions, {name: result.count for name, result in results.items()})


def run(options: Run) -> Figures:
    here = profile("local-cpu")
    nets = {f"net{tail}": network(tail) for tail in range(4, 10 if options.quick else 16)}
    rounds, passes, seconds = (8, 3, 5.0) if options.quick else (24, 6, 60.0)
    found = {"as it is": Passes(), "two bursty processes": Passes()}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepared = prepare({REFERENCE: (Reference(), Probe.INPUT), **nets}, here, folder)
        for load, hogs in zip(found, (0, 2), strict=True):
            with busy(hogs):
                for index in range(passes):
                    schedule = Schedule(rounds=rounds, seed=options.seed + index, max_seconds=seconds, target=TARGET)
                    found[load].take(*one_pass(prepared, here, folder, schedule))
    ours = found["as it is"].values[OURS]
    best = np.median([list(each.values()) for each in ours], axis=0)
    return {
        "networks": len(nets),
        "passes": passes,
        "fastest_ms": best[0],
        "slowest_ms": best[-1],
        "median_gap_percent": 100 * float(np.median(np.diff(best) / best[:-1])),
        "agreement of independent passes": [row for load, each in found.items() for row in each.rows(load)],
        "pairs": [each.decisions(load) for load, each in found.items()],
    }


if __name__ == "__main__":
    main("latency", "Latency rankings repeat, also on a machine with other work.", run)

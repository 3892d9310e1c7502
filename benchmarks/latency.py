"""How well latency rankings repeat: our protocol against timing one network after the other.

    python benchmarks/latency.py [--quick] [--seed N] [--json FILE]

Both get the same number of timed runs of every network, in turns; the last row has three times as many.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from _common import Figures, Run, main

from archfront.hw_profiles import worker
from archfront.hw_profiles.calibration import kendall
from archfront.hw_profiles.profile import profile
from archfront.hw_profiles.protocol import Schedule, measure, prepare
from archfront.space.domains import int_range, one_of
from archfront.space.library.block.mbconv import MBConv
from archfront.space.library.head.classifier import Classifier
from archfront.space.library.stem.convolution import ConvStem
from archfront.space.network import Network, Stage
from archfront.space.space import Space
from archfront.space.types import Image

Pass = dict[str, float]
"""One number a network, by which a protocol ranks it."""

BLOCK = MBConv(kernel=one_of(3, 5), expand=one_of(3, 4, 6))
SPACE = Space(
    input=Image(3, 64, 64),
    network=Network(
        stem=ConvStem(width=16),
        stages=(
            Stage(width=24, depth=2, stride=2, block=BLOCK),
            Stage(width=48, depth=int_range(2, 3), stride=2, block=BLOCK),
            Stage(width=96, depth=2, stride=2, block=BLOCK),
        ),
        head=Classifier(classes=10),
    ),
)


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


def interleaved(sessions: Mapping[str, worker.Session], plan: worker.Plan) -> dict[str, list[int]]:
    """All timed runs of every network, from one process of our protocol."""
    rounds = worker.interleave(sessions, plan, worker.SystemClock())["rounds"]
    return {name: [ns for visits in rounds for ns in visits[name]["wall"]] for name in sessions}


def agreement(passes: list[Pass]) -> dict[str, float]:
    """How passes of one protocol agree: rank correlation of all pairs, and deviation of a network between passes."""
    names = list(passes[0])
    table = np.array([[each[name] for name in names] for each in passes])
    taus = [kendall(a, b) for a, b in combinations(table, 2)]
    deviation = table.std(axis=0, ddof=1) / table.mean(axis=0)
    return {"tau": float(np.mean(taus)), "worst_tau": min(taus), "deviation_percent": 100 * float(np.median(deviation))}


def run(options: Run) -> Figures:
    here = profile("local-cpu")
    nets = {f"net{i}": SPACE.sample(options.seed + i) for i in range(8 if options.quick else 12)}
    passes, rounds = (3, 12) if options.quick else (8, 24)
    found: dict[str, list[Pass]] = {}

    def note(protocol: str, values: Pass) -> None:
        found.setdefault(protocol, []).append(values)

    with tempfile.TemporaryDirectory() as folder:
        prepared = prepare(nets, here, Path(folder))
        sessions = {name: worker.load_onnx(each.model, here.threads) for name, each in prepared.items()}
        for index in range(passes):
            plan = worker.Plan(rounds, visit_ms=2.0, warm_ms=50.0, seconds=60.0, seed=options.seed + index)
            ours = interleaved(sessions, plan)
            loop = in_turn(sessions, {name: len(times) for name, times in ours.items()})
            for label, times in (("one after the other", loop), ("interleaved, one process", ours)):
                note(f"{label}: mean", {name: statistics.fmean(t) for name, t in times.items()})
                note(f"{label}: median", {name: statistics.median(t) for name, t in times.items()})
                note(f"{label}: minimum", {name: min(t) for name, t in times.items()})
            schedule = Schedule(rounds=rounds, target=10.0, seed=options.seed + index)
            results = measure(nets, here, schedule)
            note("interleaved, three processes: median of minima", {n: r.value_ms for n, r in results.items()})
    best = sorted(results[name].value_ms for name in nets)
    rows: list[dict[str, Any]] = [{"protocol": name, **agreement(values)} for name, values in found.items()]
    return {
        "networks": len(nets),
        "passes": passes,
        "fastest_ms": best[0],
        "slowest_ms": best[-1],
        "median_gap_percent": 100 * float(np.median(np.diff(best) / best[:-1])),
        "noisy": any(result.noisy for result in results.values()),
        "agreement of independent passes": rows,
    }


if __name__ == "__main__":
    main("latency", "Latency rankings repeat, also on a machine with other work.", run)

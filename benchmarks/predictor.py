"""How well a latency table predicts whole networks that it never saw: two spaces, two runtimes.

python benchmarks/predictor.py [--quick] [--seed N] [--json FILE]

Calibration networks and held-out ones are measured in one interleaved run, because the level of a machine drifts by more
than what is judged here. A network's truth is the median over processes, each brought to the level of all.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from _common import Figures, Run, main

from archfront.hw_profiles.calibration import Accuracy, Array, accuracy, affine, agreed, repeatability
from archfront.hw_profiles.cost import cost
from archfront.hw_profiles.profile import RuntimeName, local_profile
from archfront.hw_profiles.protocol import LatencyResult, Schedule, measure
from archfront.hw_profiles.table import LatencyTable
from archfront.space.architecture import Architecture
from archfront.space.presets import preset_named
from archfront.space.space import Space
from archfront.space.types import Image

SPACES = ("micro", "hybrid")
RUNTIMES: tuple[RuntimeName, ...] = ("onnxruntime", "torch")
CALIBRATION, HELD_OUT = 12, 48


@dataclass(frozen=True)
class Effort:
    """How much is measured: seconds for the blocks and for the networks, held-out networks, fresh processes."""

    blocks: float
    networks: float
    held_out: int
    processes: int


FULL = Effort(blocks=240.0, networks=100.0, held_out=HELD_OUT, processes=16)
QUICK = Effort(blocks=14.0, networks=5.0, held_out=12, processes=3)


def drawn(space: Space, seed: int, count: int, without: frozenset[Architecture] = frozenset()) -> list[Architecture]:
    """Different random architectures of a space, half of them drawn as a search does, half evenly over its choices."""
    rng = random.Random(seed)
    found = dict[Architecture, None]()
    while len(found) < count:
        architecture = space.sample(rng, over="sites") if len(found) % 2 else space.sample(rng)
        if architecture not in without:
            found[architecture] = None
    return list(found)


def predictions(
    table: LatencyTable, chosen: list[Architecture], held: list[Architecture], results: dict[str, LatencyResult]
) -> tuple[dict[str, Array], Array, Array]:
    """Predictions of the held-out networks by name, their truth, and the latency of each in every process."""
    process_ms = np.array([results[a.digest].process_ms for a in [*chosen, *held]])
    truth = agreed(process_ms)
    taught, unseen = table.sums(chosen), table.sums(held)
    macs = [np.array([float(cost(a).macs) for a in group]) for group in (chosen, held)]
    by_macs = affine(taught._replace(ms=macs[0]), truth[: len(chosen)])
    table.learn({a.digest: results[a.digest] for a in chosen}, {a.digest: a for a in chosen})
    named = {
        "plain sum of blocks": unseen.ms,
        "multiply-adds, affine fit": by_macs(unseen._replace(ms=macs[1])),
        "sum of blocks, affine fit": affine(taught, truth[: len(chosen)])(unseen),
        "table, calibrated": np.array([table.predict(a).value for a in held]),
    }
    return named, truth[len(chosen) :], process_ms[len(chosen) :]


def judge(name: str, runtime: RuntimeName, effort: Effort, seed: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """One space on one runtime: figures about the measuring, and a row for every predictor."""
    space = preset_named(name).make(Image(3, 32, 32), 10)
    held = drawn(space, seed, effort.held_out)
    table = LatencyTable(local_profile(runtime=runtime))
    parts = dict.fromkeys((part.spec, part.input) for part in space.parts())
    begin = time.monotonic()
    filled = table.fill(parts, limit=len(parts), max_seconds=effort.blocks, seed=seed)
    building = time.monotonic() - begin
    chosen = table.choose(drawn(space, seed + 1, 200, without=frozenset(held)), CALIBRATION)
    schedule = Schedule(
        target=1e-9, max_seconds=effort.networks, processes=effort.processes, rounds=8, warm_ms=10.0, seed=seed
    )
    begin = time.monotonic()
    results = measure({a.digest: a for a in [*chosen, *held]}, table.profile, schedule)
    measuring = time.monotonic() - begin
    named, truth, process_ms = predictions(table, chosen, held, results)
    deviation, tau = repeatability(process_ms)
    figures = {
        "space": name,
        "runtime": runtime,
        "blocks": len(parts),
        "measured": filled.measured,
        "table_seconds": building,
        "networks_seconds": measuring,
        "processes": process_ms.shape[1],
        "halves_differ": deviation,
        "halves_tau": tau,
        "noisy": any(result.noisy for result in results.values()),
    }
    rows = [row(name, runtime, what, accuracy(found, truth)) for what, found in named.items()]
    return figures, [*rows, row(name, runtime, "the same, left one out in calibration", table.report.left_out)]


def row(space: str, runtime: RuntimeName, what: str, found: Accuracy) -> dict[str, Any]:
    return {"space": space, "runtime": runtime, "predictor": what, **found.to_dict()}


def run(options: Run) -> Figures:
    effort = QUICK if options.quick else FULL
    cases = [(name, runtime) for runtime in RUNTIMES for name in SPACES]
    found = [judge(name, runtime, effort, options.seed) for name, runtime in (cases[:1] if options.quick else cases)]
    return {
        "calibration_networks": CALIBRATION,
        "measuring": [figures for figures, _ in found],
        "held-out networks": [row for _, rows in found for row in rows],
    }


if __name__ == "__main__":
    main("predictor", "A table of block latencies and twelve networks predict the others within a few percent.", run)

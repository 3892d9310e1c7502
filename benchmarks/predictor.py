"""How well a latency table predicts whole networks that it never saw: two spaces, two runtimes or more.

python benchmarks/predictor.py [--quick] [--seed N] [--json FILE] [--runtimes onnxruntime,torch]

Calibration networks and held-out ones are measured in one interleaved run, because the level of a machine drifts by more
than what is judged here. A network's truth is the median over processes, each brought to the level of all. The blocks of
the first runtime are also lent to the others, as to a second device on which ten networks are measured.
"""

from __future__ import annotations

import argparse
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
TRANSFER = 10
"""Networks that are measured on a second device."""


@dataclass(frozen=True)
class Effort:
    """How much is measured: seconds for the blocks and for the networks, held-out networks, fresh processes."""

    blocks: float
    networks: float
    held_out: int
    processes: int


FULL = Effort(blocks=240.0, networks=60.0, held_out=HELD_OUT, processes=12)
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


@dataclass(frozen=True)
class Measured:
    """One space on one runtime: its table, and the networks that were measured whole."""

    space: str
    table: LatencyTable
    chosen: list[Architecture]
    held: list[Architecture]
    results: dict[str, LatencyResult]
    figures: dict[str, Any]

    @property
    def runtime(self) -> str:
        return self.table.profile.runtime

    def rows(self) -> list[dict[str, Any]]:
        """A row for every predictor."""
        named, truth, process_ms = predictions(self.table, self.chosen, self.held, self.results)
        self.figures["halves_differ"], self.figures["halves_tau"] = repeatability(process_ms)
        rows = [self.row(what, accuracy(found, truth)) for what, found in named.items()]
        return [*rows, self.row("the same, left one out in calibration", self.table.report.left_out)]

    def lent(self, lender: LatencyTable) -> dict[str, Any]:
        """A row for the blocks of another table, calibrated with `TRANSFER` networks of this runtime."""
        table = lender.lent_to(self.table.profile)
        few = self.chosen[:TRANSFER]
        table.learn({a.digest: self.results[a.digest] for a in few}, {a.digest: a for a in few})
        truth = agreed(np.array([self.results[a.digest].process_ms for a in [*few, *self.held]]))[len(few) :]
        found = np.array([table.predict(a).value for a in self.held])
        return self.row(f"blocks of {lender.profile.runtime}, {TRANSFER} networks of this one", accuracy(found, truth))

    def row(self, what: str, found: Accuracy) -> dict[str, Any]:
        return {"space": self.space, "runtime": self.runtime, "predictor": what, **found.to_dict()}


def measured(name: str, runtime: RuntimeName, effort: Effort, seed: int) -> Measured:
    """Measure the blocks of a space, and networks to calibrate on and to judge by."""
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
    figures = {
        "space": name,
        "runtime": runtime,
        "blocks": len(parts),
        "measured": filled.measured,
        "table_seconds": building,
        "networks_seconds": time.monotonic() - begin,
        "processes": len(results[held[0].digest].process_ms),
        "noisy": any(result.noisy for result in results.values()),
    }
    return Measured(name, table, chosen, held, results, figures)


def run(options: Run, runtimes: list[RuntimeName]) -> Figures:
    effort = QUICK if options.quick else FULL
    found, rows, lent = list[Measured](), list[dict[str, Any]](), list[dict[str, Any]]()
    for name in SPACES[:1] if options.quick else SPACES:
        lender: LatencyTable | None = None
        for runtime in runtimes[:1] if options.quick else runtimes:
            here = measured(name, runtime, effort, options.seed)
            found.append(here)
            rows += here.rows()
            lent += [here.lent(lender)] if lender else []
            lender = lender or here.table
    figures = {
        "calibration_networks": CALIBRATION,
        "measuring": [each.figures for each in found],
        "held-out networks": rows,
    }
    return {**figures, "a second device": lent} if lent else figures


if __name__ == "__main__":
    own = argparse.ArgumentParser(add_help=False)
    own.add_argument("--runtimes", default=",".join(RUNTIMES), help="joined by commas; openvino has to be installed")
    chosen, rest = own.parse_known_args()
    main(
        "predictor",
        "A table of block latencies and twelve networks predict the others within a few percent.",
        lambda options: run(options, chosen.runtimes.split(",")),
        rest,
    )

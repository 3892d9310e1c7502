"""What a search costs besides evaluating: proposing, judging, storing and reading back a candidate, by trials so far.

    python benchmarks/machinery.py [--quick] [--seed N] [--json FILE] [--sampler NAME]

A search runs with its default storage and sampler, or another one, a budget that 20 % of random architectures keep, and a
formula in place of the supernet. Each figure is a mean over the trials since the mark before it, by the clock on the wall;
"processor" is the time of the processor for all steps together.
"""

from __future__ import annotations

import argparse
import math
import resource
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
from _common import Figures, Run, main

from archfront.hw_profiles.cost import cost, part_cost
from archfront.hw_profiles.metrics import Measurement
from archfront.search.budget import Budget
from archfront.search.config import StudyConfig
from archfront.search.evaluation import Outcome
from archfront.search.feasible import Region
from archfront.search.propose import Proposer
from archfront.search.samplers import SAMPLERS, make_sampler
from archfront.search.storage import SCHEME
from archfront.search.surrogate.within import Within
from archfront.search.trials import TrialLog, search_metrics
from archfront.space.architecture import Architecture
from archfront.space.presets import PRESETS
from archfront.space.types import Image

OBJECTIVES = ("accuracy", "flops")


def formula(architecture: Architecture, macs: float) -> float:
    """An accuracy that grows with the cost and differs a little from architecture to architecture."""
    return 1 - 0.5 / math.log10(macs) - int(architecture.digest[:4], 16) / 2**16 * 0.02


def resident_mb() -> float:
    """Megabytes of memory that the process has used at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def marks(run: Run) -> tuple[int, ...]:
    """Numbers of trials at which figures are taken."""
    return (30, 100, 300) if run.quick else (100, 1_000, 10_000)


def measure(run: Run, sampler: str) -> Figures:
    """The seconds of every step, by number of trials."""
    space = PRESETS["micro"].make(Image(3, 32, 32), 10)
    macs = sorted(cost(space.sample(seed, over="sites")).macs for seed in range(200))
    budget = Budget.parse(f"macs<={macs[40]}")
    region = Region(
        space,
        budget,
        ("macs",),
        lambda spec, x: (part_cost(spec, x).macs,),
        {},
        lambda architecture: {"macs": cost(architecture).macs},
        lambda name, value: f"{value:.0f}",
    )
    source = Within(space, region, search_metrics(OBJECTIVES, "supernet"), lambda a: {"macs": cost(a).macs})
    population = StudyConfig().search.population
    base, rows = resident_mb(), []
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "study.journal"
        log = TrialLog(f"{SCHEME}{file}", "s", OBJECTIVES, make_sampler(sampler, population, run.seed, source))
        proposer = Proposer(space, region, log, sampler, run.seed)
        spent: Counter[str] = Counter()
        before = 0
        for mark in marks(run):
            while len(log.trials) < mark:
                one_trial(proposer, spent)
            rows.append(
                {"trials": mark}
                | {f"{name} ms": round(1e3 * spent[name] / (mark - before), 2) for name in spent}
                | {"memory MB": round(resident_mb() - base), "journal MB": round(file.stat().st_size / 1e6, 1)}
            )
            before, spent = mark, Counter()
        start = time.perf_counter()
        again = TrialLog(f"{SCHEME}{file}", "s", OBJECTIVES, make_sampler("random", 4, 0))
        read = (time.perf_counter() - start) / mark
        lost = sum(a.architecture != b.architecture for a, b in zip(again.trials, log.trials, strict=True))
    accepted = np.mean([region.accepts(trial.architecture) for trial in log.trials])
    return {
        "sampler": sampler,
        "steps": rows,
        "read back ms": round(1e3 * read, 2),
        "trials that changed": lost,
        "share within the budget": float(accepted),
        "memory of the process before MB": round(base),
    }


def one_trial(proposer: Proposer, spent: Counter[str]) -> None:
    """Propose, judge and store one candidate; adds the seconds of each step, and of the processor, to `spent`."""
    begin, worked = time.perf_counter(), time.process_time()
    proposal = proposer.next()
    if proposal is None:
        raise SystemExit("the space is exhausted")
    proposed = time.perf_counter()
    counted = cost(proposal.architecture)
    judged = time.perf_counter()
    accuracy = Measurement(formula(proposal.architecture, counted.macs), "measured", 0.01, 1000)
    made = time.perf_counter()
    proposer.record(proposal.architecture, Outcome(counted.measurements() | {"supernet_accuracy": accuracy}, "", 0.0))
    stored = time.perf_counter()
    spent.update(
        propose=proposed - begin,
        judge=judged - proposed,
        store=stored - made,
        processor=time.process_time() - worked,
    )  # type: ignore[call-arg]


if __name__ == "__main__":
    own = argparse.ArgumentParser(add_help=False)
    own.add_argument("--sampler", default=StudyConfig().search.sampler, choices=SAMPLERS)
    chosen, rest = own.parse_known_args()
    claim = "proposing, judging, storing and reading back takes under 10 ms each at 10,000 trials"
    main("machinery", claim, lambda run: measure(run, chosen.sampler), rest)

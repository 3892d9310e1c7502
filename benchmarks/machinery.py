"""What a search costs besides evaluating: proposing, judging, storing and reading back a candidate, by trials so far.

    python benchmarks/machinery.py [--quick] [--seed N] [--json FILE] [--sampler NAME] [--trials N]

A search of the space micro runs with its default storage and sampler, or another one, under a budget that 20 % of random
architectures keep, with a formula in place of the supernet. Each figure is a mean over the trials since the mark before
it; "asked" is how often the sampler was, "memory" that of the whole process. "ms" are those of the clock on the wall,
which other work on the machine lengthens; "processor ms" those of the processor, which does not count waiting for the
disk: a trial is on it before the search goes on.

Proposing includes bringing the candidate into the budget, and whatever the sampler proposes twice. Judging is counting
its exact cost, and finding out whether the last 100 trials still raised the hypervolume.
"""

from __future__ import annotations

import argparse
import math
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from _common import Figures, Run, main

from archfront.hw_profiles.cost import cost, part_cost
from archfront.hw_profiles.metrics import Measurement
from archfront.search.budget import Budget
from archfront.search.config import SearchConfig
from archfront.search.evaluation import Outcome
from archfront.search.exploring import Exploration
from archfront.search.feasible import Region
from archfront.search.progress import Silent
from archfront.search.propose import Proposer
from archfront.search.samplers import SAMPLERS, make_sampler
from archfront.search.storage import SCHEME
from archfront.search.surrogate.within import Within
from archfront.search.trials import TrialLog, search_metrics
from archfront.space.architecture import Architecture
from archfront.space.presets import PRESETS
from archfront.space.space import Space
from archfront.space.types import Image

OBJECTIVES = ("accuracy", "flops")

MARKS = (100, 1_000, 10_000)
"""Numbers of trials at which figures are taken; others with `--quick`."""

SOON = (30, 100, 300)


def formula(architecture: Architecture, macs: float) -> float:
    """An accuracy that grows with the cost and differs a little from architecture to architecture."""
    return 1 - 0.5 / math.log10(macs) - int(architecture.digest[:4], 16) / 2**16 * 0.02


def outcome_of(architecture: Architecture) -> Outcome:
    """What the formula says about a candidate, as an evaluator would."""
    counted = cost(architecture)
    accuracy = Measurement(formula(architecture, counted.macs), "measured", 0.01, 1000)
    return Outcome(counted.measurements() | {"supernet_accuracy": accuracy}, "", 0.0)


def proposer_of(space: Space, file: Path, sampler: str, seed: int) -> Proposer:
    """Of a search whose trials go to a journal, with a budget that 20 % of the architectures keep."""
    bound = float(np.quantile([cost(space.sample(number, over="sites")).macs for number in range(200)], 0.2))

    def known(architecture: Architecture) -> dict[str, float]:
        return {"macs": cost(architecture).macs}

    region = Region(
        space,
        Budget.parse(f"macs<={bound:.0f}"),
        ("macs",),
        lambda spec, x: (part_cost(spec, x).macs,),
        {},
        known,
        lambda name, value: f"{value:.0f}",
    )
    source = Within(space, region, search_metrics(OBJECTIVES, "supernet_accuracy"), known)
    made = make_sampler(sampler, SearchConfig().population, seed, source)
    return Proposer(space, region, TrialLog(f"{SCHEME}{file}", "s", OBJECTIVES, made), sampler, seed)


def resident_mb() -> float:
    """Megabytes of memory that the process has used at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


class Clocks:
    """Seconds of the wall and of the processor that steps took, by name."""

    def __init__(self) -> None:
        self.spent: dict[str, tuple[float, float]] = {}
        self._now = time.perf_counter(), time.process_time()

    def start(self) -> None:
        """What follows belongs to the next step."""
        self._now = time.perf_counter(), time.process_time()

    def step(self, name: str) -> None:
        """What came since the last call was this step."""
        before = self._now
        self.start()
        wall, processor = self.spent.get(name, (0.0, 0.0))
        self.spent[name] = wall + self._now[0] - before[0], processor + self._now[1] - before[1]

    def rows(self, trials: int, before: int) -> list[dict[str, Any]]:
        """Milliseconds a trial of the steps since this was asked last, when there were `before`; one row a step."""
        scale = 1e3 / (trials - before)
        found = [
            {"trials": trials, "step": name, "ms": round(scale * wall, 2), "processor ms": round(scale * processor, 2)}
            for name, (wall, processor) in self.spent.items()
        ]
        self.spent.clear()
        return found


def measure(run: Run, sampler: str, most: int) -> Figures:
    """The steps of a search, by number of trials, and reading it back."""
    space = PRESETS["micro"].make(Image(3, 32, 32), 10)
    before, known = resident_mb(), 0
    steps, sizes = list[dict[str, Any]](), list[dict[str, Any]]()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "study.journal"
        proposer = proposer_of(space, file, sampler, run.seed)
        log, clocks = proposer.log, Clocks()
        exploration = Exploration(log, SearchConfig(trials=most + 1, patience=100), Silent())
        for mark in [mark for mark in (SOON if run.quick else MARKS) if mark <= most]:
            while len(log.trials) < mark:
                one_trial(proposer, exploration, clocks)
            steps += clocks.rows(mark, known)
            asked, journal = len(log.memory.get_trials(deepcopy=False)), file.stat().st_size / 1e6
            sizes.append({"trials": mark, "asked": asked, "memory MB": resident_mb(), "journal MB": journal})
            known = mark
        clocks.start()
        again = TrialLog(f"{SCHEME}{file}", "s", OBJECTIVES, make_sampler("random", 4, 0))
        clocks.step("read back")
        lost = sum(a.architecture != b.architecture for a, b in zip(again.trials, log.trials, strict=True))
    accepted = np.mean([proposer.region.accepts(trial.architecture) for trial in log.trials])
    return {
        "sampler": sampler,
        "steps": steps + clocks.rows(known, 0),
        "sizes": sizes,
        "trials that changed": lost,
        "share within the budget": float(accepted),
        "memory before MB": before,
    }


def one_trial(proposer: Proposer, exploration: Exploration, clocks: Clocks) -> None:
    """Propose, judge and store one candidate."""
    clocks.start()
    exploration.enough()  # goes on whatever that says
    clocks.step("judge")
    proposal = proposer.next()
    if proposal is None:
        raise SystemExit("the space is exhausted")
    clocks.step("propose")
    cost(proposal.architecture)
    clocks.step("judge")
    outcome = outcome_of(proposal.architecture)
    clocks.start()
    proposer.record(proposal.architecture, outcome)
    clocks.step("store")


if __name__ == "__main__":
    own = argparse.ArgumentParser(add_help=False)
    own.add_argument("--sampler", default=SearchConfig().sampler, choices=SAMPLERS)
    own.add_argument("--trials", type=int, default=MARKS[-1], help="stop at the last mark up to here")
    chosen, rest = own.parse_known_args()
    claim = "proposing, judging, storing and reading back takes under 10 ms each at 10,000 trials"
    main("machinery", claim, lambda run: measure(run, chosen.sampler, chosen.trials), rest)

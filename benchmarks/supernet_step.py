"""What weight sharing costs: a training step through a view of the supernet against the same stand-alone step, in one run.

    python benchmarks/supernet_step.py [--compile] [--quick] [--seed N] [--json FILE]

For random architectures of a space, forward and backward of one batch are timed in turn: the stand-alone module, the
candidate with views of the store, the stand-alone module again, and so on, in random order. The ratio compares medians
of both within one architecture; optimiser and data are the same for both and left out.

With `--compile` it is the stand-alone step as it is against the one that `torch.compile` makes of it, and how many steps
it takes until the seconds of compiling are won back, if ever.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence

import torch
from _common import Figures, Run, main
from torch import Tensor, nn
from torch.nn import functional as F

from archfront.evaluators.supernet import Supernet
from archfront.space import Architecture, Space
from archfront.space.presets import PRESETS
from archfront.space.types import Image

SETTINGS = (
    ("micro", Image(1, 8, 8), 64),
    ("micro", Image(3, 32, 32), 64),
    ("hybrid", Image(3, 32, 32), 64),
    ("cells", Image(3, 32, 32), 64),
)
"""Space, input and batch size."""


def step_time(network: Callable[[Tensor], Tensor], x: Tensor, y: Tensor) -> float:
    """Seconds for one forward and backward pass."""
    start = time.perf_counter()
    F.cross_entropy(network(x), y).backward()
    return time.perf_counter() - start


def in_turn(
    networks: Mapping[str, Callable[[Tensor], Tensor]],
    parameters: Sequence[nn.Parameter],
    architecture: Architecture,
    batch: int,
    repeats: int,
    seed: int,
) -> dict[str, float]:
    """The median seconds of a step of each network, one after the other in random order, `repeats` times."""
    x = architecture.input.example(batch)[0].contiguous(memory_format=torch.channels_last)
    y = torch.arange(batch) % 10
    times: dict[str, list[float]] = {name: [] for name in networks}
    rng = random.Random(seed)
    for turn in range(repeats + 2):
        for name in rng.sample(sorted(networks), len(networks)):
            for parameter in parameters:
                parameter.grad = None
            seconds = step_time(networks[name], x, y)
            if turn >= 2:  # the first two turns warm up
                times[name].append(seconds)
    return {name: statistics.median(found) for name, found in times.items()}


def ratio(supernet: Supernet, seed: int, batch: int, repeats: int) -> tuple[float, float]:
    """Step through the view over stand-alone step, and the latter in milliseconds, for one random architecture."""
    architecture = supernet.space.sample(seed, over="sites")
    candidate, alone = supernet.candidate(architecture).train(), supernet.extract(architecture).train()
    parameters = [*supernet.store.parameters.values(), *alone.parameters()]
    found = in_turn({"view": candidate, "alone": alone}, parameters, architecture, batch, repeats, seed)
    return found["view"] / found["alone"], 1e3 * found["alone"]


def compiled(space: Space, seed: int, batch: int, repeats: int) -> Figures:
    """The stand-alone step of one random architecture, as it is and compiled."""
    architecture = space.sample(seed, over="sites")
    network = architecture.build().train()
    faster = torch.compile(network)
    x = architecture.input.example(batch)[0].contiguous(memory_format=torch.channels_last)
    start = time.perf_counter()
    step_time(faster, x, torch.arange(batch) % 10)
    spent = time.perf_counter() - start
    found = in_turn({"plain": network, "compiled": faster}, [*network.parameters()], architecture, batch, repeats, seed)
    won = found["plain"] - found["compiled"]
    return {
        "step ms": round(1e3 * found["plain"], 1),
        "compiled / plain": round(found["compiled"] / found["plain"], 3),
        "compiling s": round(spent),
        "steps to win that back": round(spent / won) if won > 0 else "never",
    }


def compiling(run: Run) -> Figures:
    """What `torch.compile` does for random architectures of three spaces."""
    table = []
    for name in ("micro",) if run.quick else ("micro", "hybrid", "mobile"):
        space = PRESETS[name].make(Image(3, 32, 32), 10)
        for i in range(1 if run.quick else 2):
            table.append({"space": name, "batch": 64, **compiled(space, run.seed + i, 64, 4 if run.quick else 10)})
    return {"settings": table}


def measure(run: Run) -> Figures:
    """The ratios for every setting."""
    table = []
    for name, x, batch in SETTINGS[:2] if run.quick else SETTINGS:
        supernet = Supernet(PRESETS[name].make(x, 10), run.seed)
        found = [ratio(supernet, run.seed + i, batch, 8 if run.quick else 20) for i in range(4 if run.quick else 12)]
        ratios = sorted(r for r, _ in found)
        table.append(
            {
                "space": name,
                "input": str(x),
                "batch": batch,
                "architectures": len(found),
                "stand-alone step ms": round(statistics.median(ms for _, ms in found), 1),
                "ratio median": round(statistics.median(ratios), 3),
                "ratio largest": round(ratios[-1], 3),
            }
        )
    return {"settings": table}


if __name__ == "__main__":
    own = argparse.ArgumentParser(add_help=False)
    own.add_argument("--compile", action="store_true", help="against torch.compile in place of the supernet")
    chosen, rest = own.parse_known_args()
    if chosen.compile:
        main("supernet_step", "torch.compile makes a step no faster on a processor", compiling, rest)
    else:
        main("supernet_step", "a step through a view costs at most 1.2 times the stand-alone step", measure, rest)

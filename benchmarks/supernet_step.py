"""What weight sharing costs: a training step through a view of the supernet against the same stand-alone step, in one run.

    python benchmarks/supernet_step.py [--quick] [--seed N] [--json FILE]

For random architectures of a space, forward and backward of one batch are timed in turn: the stand-alone module, the
candidate with views of the store, the stand-alone module again, and so on, in random order. The ratio compares medians
of both within one architecture; optimiser and data are the same for both and left out.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable

import torch
from _common import Figures, Run, main
from torch import Tensor
from torch.nn import functional as F

from archfront.evaluators.supernet import Supernet
from archfront.space.presets import PRESETS
from archfront.space.types import Image

SETTINGS = (("micro", Image(1, 8, 8), 64), ("micro", Image(3, 32, 32), 64), ("hybrid", Image(3, 32, 32), 64))
"""Space, input and batch size."""


def step_time(network: Callable[[Tensor], Tensor], x: Tensor, y: Tensor) -> float:
    """Seconds for one forward and backward pass."""
    start = time.perf_counter()
    F.cross_entropy(network(x), y).backward()
    return time.perf_counter() - start


def ratio(supernet: Supernet, seed: int, batch: int, repeats: int) -> tuple[float, float]:
    """Step through the view over stand-alone step, and the latter in milliseconds, for one random architecture."""
    architecture = supernet.space.sample(seed, over="sites")
    x = architecture.input.example(batch)[0].contiguous(memory_format=torch.channels_last)
    y = torch.arange(batch) % 10
    candidate, alone = supernet.candidate(architecture).train(), supernet.extract(architecture).train()
    times: dict[str, list[float]] = {"view": [], "alone": []}
    rng = random.Random(seed)
    for turn in range(repeats + 2):
        for name in rng.sample(["view", "alone"], 2):
            for parameter in [*supernet.store.parameters.values(), *alone.parameters()]:
                parameter.grad = None
            seconds = step_time(candidate if name == "view" else alone, x, y)
            if turn >= 2:  # the first two turns warm up
                times[name].append(seconds)
    return statistics.median(times["view"]) / statistics.median(times["alone"]), 1e3 * statistics.median(times["alone"])


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
    main("supernet_step", "a training step through a view costs at most 1.2 times the stand-alone step", measure)

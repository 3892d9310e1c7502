"""Speed of a space: drawing, mutating, crossing and encoding architectures, by the size of the space.

    python benchmarks/sampling.py [--quick] [--seed N] [--json FILE]

Each operation is repeated after a warm-up that expands the graph of partial architectures; the median is given.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable

from _common import Figures, Run, main

from archfront.space.presets import PRESETS
from archfront.space.types import Image


def median_ms(act: Callable[[], object], repeats: int) -> float:
    """The median time of `act` in milliseconds."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        act()
        times.append(time.perf_counter() - start)
    return round(1e3 * statistics.median(times), 3)


def timed(name: str, seed: int, repeats: int) -> dict[str, object]:
    """The times for one ready space."""
    start = time.perf_counter()
    space = PRESETS[name].make(Image(3, 32, 32), 10)
    made = time.perf_counter() - start
    rng = random.Random(seed)
    a, b = space.sample(rng), space.sample(rng)
    space.mutate(a, rng)
    return {
        "space": name,
        "size": f"{space.size:.2g}",
        "choices": len(space.sites),
        "define ms": round(1e3 * made, 1),
        "sample ms": median_ms(lambda: space.sample(rng), repeats),
        "over sites ms": median_ms(lambda: space.sample(rng, over="sites"), repeats),
        "mutate ms": median_ms(lambda: space.mutate(a, rng), repeats),
        "cross ms": median_ms(lambda: space.crossover(a, b, rng), repeats),
        "encode ms": median_ms(lambda: space.encode(a), repeats),
    }


def measure(run: Run) -> Figures:
    """The times for three ready spaces."""
    repeats = 200 if run.quick else 2000
    return {"spaces": [timed(name, run.seed, repeats) for name in ("micro", "mobile", "hybrid")]}


if __name__ == "__main__":
    main("sampling", "an architecture of a huge space is drawn in well under a millisecond", measure)

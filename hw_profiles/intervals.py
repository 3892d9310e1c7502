"""Intervals of best-case latencies: bootstrap over the blocks (process, round).

Runs inside a visit are correlated, and so are visits inside a process, so processes are drawn first and rounds inside
them. The bootstrap gives the standard error of the logarithm; Student's t makes up for how few processes there are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

REPLICATES = 400


@cache
def student(freedom: int) -> float:
    """The 97.5 % quantile of Student's t."""
    from scipy.stats import t  # type: ignore[import-untyped]

    return float(t.ppf(0.975, freedom))


def resampled_minima(blocks: Sequence[Array], seed: int) -> Array:
    """Per-process minima of bootstrap samples.

    Args:
        blocks: for every process, the fastest run of each visit, shape (rounds, models).
        seed: of the draws.

    Returns:
        shape (replicates, processes, models).
    """
    draw = np.random.default_rng(seed)
    processes = len(blocks)
    chosen = draw.integers(processes, size=(REPLICATES, processes))
    minima = np.empty((REPLICATES, processes, blocks[0].shape[1]))
    for index, block in enumerate(blocks):
        where = chosen == index
        rounds = draw.integers(len(block), size=(int(where.sum()), len(block)))
        minima[where] = block[rounds].min(axis=1)
    return minima


def half_width(statistic: Array, blocks: Sequence[Array]) -> Array:
    """Half-width of the 95 % interval of a log statistic from its replicates, shape (replicates, ...).

    With one process it only speaks of the rounds in it: differences between processes are unknown then.
    """
    units = len(blocks) if len(blocks) > 1 else len(blocks[0])
    width: Array = student(max(1, units - 1)) * statistic.std(axis=0, ddof=1)
    return width


def best_case(blocks: Sequence[Array]) -> Array:
    """Median over processes of the per-process minimum, shape (models,)."""
    value: Array = np.median([block.min(axis=0) for block in blocks], axis=0)
    return value


def best_case_width(blocks: Sequence[Array], seed: int) -> Array:
    """Half-width of the 95 % interval of `best_case`, as a share of it, shape (models,)."""
    return half_width(np.log(np.median(resampled_minima(blocks, seed), axis=1)), blocks)


def paired_ratio(a: Sequence[Array], b: Sequence[Array], seed: int) -> tuple[float, float, float]:
    """The ratio a / b of two models timed in the same rounds, and its 95 % interval.

    Args:
        a, b: for every process, the fastest run of each visit, shape (rounds,).
    """
    blocks = [np.column_stack(pair) for pair in zip(a, b, strict=True)]
    logs = [np.log(block.min(axis=0)) for block in blocks]
    ratio = float(np.median([log[0] - log[1] for log in logs]))
    minima = np.log(resampled_minima(blocks, seed))
    width = float(half_width(np.median(minima[:, :, 0] - minima[:, :, 1], axis=1), blocks))
    return math.exp(ratio), math.exp(ratio - width), math.exp(ratio + width)

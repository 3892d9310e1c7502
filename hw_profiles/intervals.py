"""Intervals of best-case latencies: bootstrap over the blocks (process, round).

Runs inside a visit are correlated, and so are visits inside a process, so processes are drawn first and rounds inside
them. The bootstrap gives the standard error of a logarithm, Student's t the interval; its degrees of freedom follow
from how much of the variance lies between the few processes and how much inside them (Satterthwaite, 1946, An
approximate distribution of estimates of variance components).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

REPLICATES = 400


def resampled_minima(blocks: Sequence[Array], seed: int, processes: bool = True) -> Array:
    """Per-process minima of bootstrap samples.

    Args:
        blocks: for every process, the fastest run of each visit, shape (rounds, models).
        seed: of the draws.
        processes: draw processes too, not only the rounds inside each.

    Returns:
        shape (replicates, processes, models).
    """
    draw = np.random.default_rng(seed)
    shape = REPLICATES, len(blocks)
    chosen = draw.integers(len(blocks), size=shape) if processes else np.tile(np.arange(len(blocks)), (REPLICATES, 1))
    minima = np.empty((*shape, blocks[0].shape[1]))
    for index, block in enumerate(blocks):
        where = chosen == index
        rounds = draw.integers(len(block), size=(int(where.sum()), len(block)))
        minima[where] = block[rounds].min(axis=1)
    return minima


def half_width(
    statistic: Callable[[Array], Array], blocks: Sequence[Array], seed: int, confidence: float = 0.95
) -> Array:
    """Half-width of the interval of a logarithmic statistic.

    With one process it only speaks of the rounds in it: differences between processes are unknown then.

    Args:
        statistic: from minima as `resampled_minima` gives them to one row of values a replicate.
        blocks: for every process, the fastest run of each visit, shape (rounds, models).
        seed: of the bootstrap.
        confidence: how often such an interval is to hold the truth.
    """
    from scipy.stats import t  # type: ignore[import-untyped]

    total = statistic(resampled_minima(blocks, seed)).var(axis=0, ddof=1)
    inside = np.minimum(statistic(resampled_minima(blocks, seed, processes=False)).var(axis=0, ddof=1), total)
    rounds = sum(len(block) - 1 for block in blocks)
    between = (total - inside) ** 2 / max(1, len(blocks) - 1) + inside**2 / max(1, rounds)
    freedom = np.where(between > 0, total**2 / np.where(between > 0, between, 1.0), 1.0)
    width: Array = t.ppf((1 + confidence) / 2, freedom) * np.sqrt(total)
    return width


def best_case(minima: Array) -> Array:
    """Logarithm of the median over processes of per-process minima, (replicates, processes, models) to (.., models)."""
    logs: Array = np.log(np.median(minima, axis=1))
    return logs


def log_ratio(minima: Array) -> Array:
    """Median over processes of the log ratio of the first model to the second, shape (replicates,)."""
    logs = np.log(minima)
    ratio: Array = np.median(logs[:, :, 0] - logs[:, :, 1], axis=1)
    return ratio


def paired_ratio(
    a: Sequence[Array], b: Sequence[Array], seed: int, confidence: float = 0.95
) -> tuple[float, float, float]:
    """The ratio a / b of two models timed in the same rounds, and its interval.

    Args:
        a, b: for every process, the fastest run of each visit, shape (rounds,).
        seed: of the bootstrap.
        confidence: how often such an interval is to hold the truth.
    """
    blocks = [np.column_stack(pair) for pair in zip(a, b, strict=True)]
    ratio = float(log_ratio(np.stack([block.min(axis=0) for block in blocks])[None])[0])
    width = float(half_width(log_ratio, blocks, seed, confidence))
    return math.exp(ratio), math.exp(ratio - width), math.exp(ratio + width)

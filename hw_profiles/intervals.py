"""What interleaved visits say about latencies, and intervals by bootstrap over the blocks (process, round).

Estimators work on the logarithms of the fastest run of each visit, one process at a time, and take the median over
processes. There are two ways to bring the rounds of a process together. Where other work fills much of the time, the
fastest visit of all finds the quiet moments. Where the clock rate moves, that is a rare event that some models see and
others do not: on a virtual machine it varied three times as much as the midmean of what models take compared with the
others of the same round (docs/benchmarks.md). Which of the two is steadier is seen from the visits themselves.

Runs inside a visit are correlated, and so are visits inside a process, so one bootstrap draws processes and another one
rounds inside them. They give the standard error of a logarithm, Student's t the interval; its degrees of freedom follow
from how much of the variance lies between the few processes and how much inside them (Satterthwaite, 1946, An
approximate distribution of estimates of variance components).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

REPLICATES = 400


class Estimator(NamedTuple):
    """A figure that processes agree on.

    Args:
        of_process: from logarithms of visits (..., rounds, models) to values (..., values) of a process.
        agreed: from values (..., processes, values) to the figures (..., figures).
    """

    of_process: Callable[[Array], Array]
    agreed: Callable[[Array], Array]

    def __call__(self, blocks: Sequence[Array]) -> Array:
        """The figures from visits: for every process shape (rounds, models)."""
        return self.agreed(np.stack([self.of_process(np.log(block)) for block in blocks]))


def midmean(values: Array) -> Array:
    """The mean of the middle half along the last axis but one; the median of three or fewer."""
    count = values.shape[-2]
    cut = min(max(count // 4, 1), (count - 1) // 2)
    middle: Array = np.sort(values, axis=-2)[..., cut : count - cut, :].mean(axis=-2)
    return middle


def steady(logs: Array) -> Array:
    """How each model compares with the others of its rounds, and last the level at which their best cases lie.

    (..., rounds, models) to (..., models + 1).
    """
    return _levelled(midmean(logs - np.median(logs, axis=-1, keepdims=True)), logs)


def fastest(logs: Array) -> Array:
    """The same from the fastest visit of every model."""
    best = logs.min(axis=-2)
    return _levelled(best - best.mean(axis=-1, keepdims=True), logs)


def _levelled(shares: Array, logs: Array) -> Array:
    level = (logs.min(axis=-2) - shares).mean(axis=-1, keepdims=True)
    return np.concatenate((shares, level), axis=-1)


def _sums(values: Array) -> Array:
    middle = _median(values)
    return middle[..., :-1] + middle[..., -1:]


def _median(values: Array) -> Array:
    middle: Array = np.median(values, axis=-2)
    return middle


def _steady_ratio(logs: Array) -> Array:
    return midmean(logs[..., :1] - logs[..., 1:])


def _fastest_ratio(logs: Array) -> Array:
    best: Array = logs.min(axis=-2)
    return best[..., :1] - best[..., 1:]


LATENCY = Estimator(steady, _sums), Estimator(fastest, _sums)
"""Logarithms of the latencies of models: the level of their best cases, shared out by how they compare."""

RATIO = Estimator(_steady_ratio, _median), Estimator(_fastest_ratio, _median)
"""Logarithm of the ratio of the first of two models to the second."""


def steadiest(estimators: Sequence[Estimator], blocks: Sequence[Array], seed: int = 0) -> Estimator:
    """The estimator whose figures vary least over the rounds that were made."""
    return min(estimators, key=lambda each: over_rounds(each, blocks, np.random.default_rng(seed)).mean())


def over_processes(estimator: Estimator, blocks: Sequence[Array], draw: np.random.Generator) -> Array:
    """Variance of the figures over bootstrap samples of the processes, shape (figures,); 0 for a single process."""
    count = len(blocks)
    values = np.stack([estimator.of_process(np.log(block)) for block in blocks])
    drawn = estimator.agreed(values[draw.integers(count, size=(REPLICATES, count))])
    variance: Array = drawn.var(axis=0, ddof=1) * count / max(1, count - 1)
    return variance


def over_rounds(estimator: Estimator, blocks: Sequence[Array], draw: np.random.Generator) -> Array:
    """Variance of the figures over bootstrap samples of the rounds inside every process, shape (figures,)."""
    samples = [draw.integers(len(block), size=(REPLICATES, len(block))) for block in blocks]
    values = [estimator.of_process(np.log(block)[rows]) for block, rows in zip(blocks, samples, strict=True)]
    variance: Array = estimator.agreed(np.stack(values, axis=1)).var(axis=0, ddof=1)
    return variance


def half_width(estimator: Estimator, blocks: Sequence[Array], seed: int, confidence: float = 0.95) -> Array:
    """Half-widths of the intervals of logarithmic figures, shape (figures,).

    With one process they only speak of the rounds in it: differences between processes are unknown then.

    Args:
        estimator: what is asked.
        blocks: for every process, the fastest run of each visit, shape (rounds, models).
        seed: of the bootstrap.
        confidence: how often such an interval is to hold the truth.
    """
    from scipy.stats import t  # type: ignore[import-untyped]

    draw = np.random.default_rng(seed)
    inside = over_rounds(estimator, blocks, draw)  # which is part of what makes processes differ
    total = np.maximum(over_processes(estimator, blocks, draw), inside)
    rounds = sum(len(block) - 1 for block in blocks)
    between = (total - inside) ** 2 / max(1, len(blocks) - 1) + inside**2 / max(1, rounds)
    freedom = np.where(between > 0, total**2 / np.where(between > 0, between, 1.0), 1.0)
    width: Array = t.ppf((1 + confidence) / 2, freedom) * np.sqrt(total)
    return width


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
    estimator = steadiest(RATIO, blocks, seed)
    ratio = float(estimator(blocks)[0])
    width = float(half_width(estimator, blocks, seed, confidence)[0])
    return math.exp(ratio), math.exp(ratio - width), math.exp(ratio + width)

"""Models of all objectives and constraints of a study, fitted to a choice of its trials."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from archfront.search.pareto import non_dominated

from .gp import Kernel, Posterior, fit
from .sites import Features
from .warp import Warp

Values = NDArray[np.float64]

GROWTH = 1.25
"""Hyperparameters are fitted anew whenever there are so many times as many trials."""

FITTED = 200
"""Most trials that hyperparameters are fitted to."""

TRAINED = 400
"""Most trials that a model holds: its time grows with their cube, and stays the same beyond."""


def milestone(count: int) -> int:
    """The number of trials up to `count` after which hyperparameters were fitted last; depends on nothing else."""
    reached = 1.0
    while int(reached * GROWTH) + 1 <= count:
        reached = int(reached * GROWTH) + 1
    return int(reached)


def chosen(values: Values, most: int) -> NDArray[np.int64]:
    """Which `most` rows of (n, m) a model learns from: the front, the best by mean rank, and an even spread of all."""
    n = len(values)
    if n <= most:
        return np.arange(n)
    ranks = np.argsort(np.argsort(values, axis=0, kind="stable"), axis=0)
    best = np.argsort(ranks.mean(axis=1), kind="stable")
    top = np.unique(np.r_[best[: 4 * most], np.flatnonzero(ranks.min(axis=1) < most // 4)])
    front = top[non_dominated(values[top])]
    front = front[np.linspace(0, len(front) - 1, min(len(front), most // 4)).astype(int)]
    spread = np.linspace(0, n - 1, most // 3).astype(int)
    kept = list(dict.fromkeys([*front, *spread, *best[:most]]))
    return np.sort(kept[:most])


class Objectives:
    """What is believed of every objective, each by itself.

    Args:
        kernels: one an objective.
        features: (n, f) of what was evaluated.
        values: (n, m) what came out, less is better.
        warps: the scale on which each objective is modelled.
    """

    def __init__(self, kernels: Sequence[Kernel], features: Features, values: Values, warps: Sequence[Warp]) -> None:
        self.warps = warps
        self.posteriors = [
            Posterior(kernel, features, warp(column))
            for kernel, warp, column in zip(kernels, warps, values.T, strict=True)
        ]

    def beliefs(self, features: Features) -> tuple[Values, Values]:
        """Means and standard deviations (k, m) of candidates on the scale of the models."""
        means, deviations = zip(*(posterior(features) for posterior in self.posteriors), strict=True)
        return np.stack(means, axis=1), np.stack(deviations, axis=1)

    def values(self, scores: Values) -> Values:
        """Scores (k, m) as values of the objectives."""
        return np.stack([warp.back(column) for warp, column in zip(self.warps, scores.T, strict=True)], axis=1)


def fit_kernels(features: Features, widths: NDArray[np.int64], values: Values, warps: Sequence[Warp]) -> list[Kernel]:
    """The hyperparameters for every column of `values` (n, m)."""
    rows = chosen(values, FITTED)
    return [fit(features[rows], widths, warp(column)) for warp, column in zip(warps, values[rows].T, strict=True)]


def chance(features: Features, widths: NDArray[np.int64], constraints: Values, candidates: Features) -> Values:
    """The probability (k,) that candidates keep every constraint (n, c), each learned by itself."""
    from scipy.special import ndtr  # type: ignore[import-untyped]

    total = np.ones(len(candidates))
    for column in constraints.T:
        seen = np.isfinite(column)
        if not seen.any() or (column[seen] <= 0).all():
            continue
        y = np.clip(column[seen] / np.median(np.abs(column[seen][column[seen] != 0])), -3, 3)
        kept = chosen(np.abs(y)[:, None], FITTED)
        train, y = features[np.flatnonzero(seen)[kept]], y[kept]
        mean, deviation = Posterior(fit(train, widths, y), train, y)(candidates)
        total *= ndtr(-mean / deviation)
    return total

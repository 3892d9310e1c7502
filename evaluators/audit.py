"""How well ratings order architectures: rank correlations with intervals, and what following a rating costs.

Ratings and accuracies are vectors over the same architectures, higher is better. Ties share their mean rank; a rating
that is not a number counts as the lowest, one that is constant orders nothing and correlates with nothing (0).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Draws = NDArray[np.int64]
"""Bootstrap samples: positions of architectures, (samples, architectures)."""


class Estimate(NamedTuple):
    """A figure with its 95 % bootstrap interval over architectures."""

    value: float
    low: float
    high: float


class Agreement(NamedTuple):
    """How well a rating orders architectures.

    Args:
        spearman: correlation of ranks, rho.
        kendall: tau-b, pairs in the same order less pairs in the other order, corrected for ties.
        recall: share of the truly best `top` among those that the rating puts first.
        regret: how much less accurate the rating's first choice is than the best architecture.
    """

    spearman: Estimate
    kendall: Estimate
    recall: float
    regret: float


def bootstrap(count: int, samples: int = 1000, seed: int = 0) -> Draws:
    """Positions drawn with replacement, (samples, count)."""
    return np.random.default_rng(seed).integers(0, count, (samples, count))


def agreement(rating: ArrayLike, accuracy: ArrayLike, top: int, draws: Draws) -> Agreement:
    """The agreement of a rating with accuracy.

    Args:
        rating: (architectures,), or (trainings, architectures) where what rates was trained several times; the figures
            are then means over trainings.
        accuracy: (architectures,).
        top: how many are looked for among the best.
        draws: bootstrap samples.
    """
    a, b = np.atleast_2d(ranks(rating)), np.asarray(accuracy, float)
    pairs = [(row, b) for row in a]
    first = [b[row == row.max()].mean() for row in a]  # the mean over those that share the first place
    best = set(_best(b, top))
    return Agreement(
        _mean(spearman, pairs, draws),
        _mean(kendall, pairs, draws),
        float(np.mean([len(best & set(_best(row, top))) / len(best) for row in a])),
        float(b.max() - np.mean(first)),
    )


def _best(values: Floats, count: int) -> list[int]:
    """The positions of the highest values."""
    found: list[int] = np.argsort(-values, kind="stable")[:count].tolist()
    return found


def advantage(rating: ArrayLike, other: ArrayLike, accuracy: ArrayLike, draws: Draws) -> Estimate:
    """How much higher Spearman's rho of a rating is than that of another, on the same bootstrap samples.

    Of (trainings, architectures) the mean over trainings is compared.
    """
    a, b, c = np.atleast_2d(ranks(rating)), ranks(other), np.asarray(accuracy, float)
    value = spearman(a, c).mean() - spearman(b, c)
    return _estimate(value, spearman(a[:, draws], c[draws]).mean(0) - spearman(b[draws], c[draws]))


def beyond(rating: ArrayLike, known: ArrayLike, accuracy: ArrayLike, draws: Draws) -> Estimate:
    """What a rating tells of accuracy that `known` does not: their partial rank correlation, given `known`.

    0 where it tells no more, 1 where it orders what `known` leaves open as accuracy does. Where counting alone comes near
    the ceiling, correlations can lie close together although one rating knows much that the other does not. Of
    (trainings, architectures) the mean over trainings. Kendall, 1942, Partial Rank Correlation.
    """
    a, b, c = np.atleast_2d(ranks(rating)), ranks(known), np.asarray(accuracy, float)
    return _estimate(partial(a, b, c).mean(), partial(a[:, draws], b[draws], c[draws]).mean(0))


def ceiling(accuracies: ArrayLike, draws: Draws) -> tuple[Estimate, Estimate]:
    """Spearman's rho and Kendall's tau between trainings that differ in their seed alone, the mean over pairs of seeds.

    No rating can be expected to agree with one training much better than another training does.

    Args:
        accuracies: (seeds, architectures), two seeds or more.
    """
    values = np.asarray(accuracies, float)
    pairs = list(combinations(values, 2))
    rho, tau = (_mean(measure, pairs, draws) for measure in (spearman, kendall))
    return rho, tau


def _mean(
    measure: Callable[[Floats, Floats], Floats], pairs: Sequence[tuple[Floats, Floats]], draws: Draws
) -> Estimate:
    values = np.array([measure(a, b) for a, b in pairs])
    samples = np.array([measure(a[draws], b[draws]) for a, b in pairs])
    return _estimate(values.mean(0), samples.mean(0))


def ranks(values: ArrayLike) -> Floats:
    """Ranks along the last dimension, ties at their mean."""
    from scipy.stats import rankdata  # type: ignore[import-untyped]

    array = np.asarray(values, float)
    return np.asarray(rankdata(np.where(np.isnan(array), -np.inf, array), axis=-1), float)


def spearman(a: Floats, b: Floats) -> Floats:
    """Spearman's rho along the last dimension."""
    a, b = (ranks(values) for values in (a, b))
    return _cosine(a - a.mean(-1, keepdims=True), b - b.mean(-1, keepdims=True))


def partial(a: Floats, given: Floats, b: Floats) -> Floats:
    """Spearman's rho of a and b without what both have from `given`, along the last dimension; 0 where that is all."""
    ab, ag, bg = spearman(a, b), spearman(a, given), spearman(b, given)
    rest = np.sqrt(np.clip(1 - ag**2, 0, None) * np.clip(1 - bg**2, 0, None))
    return np.where(rest > 1e-9, (ab - ag * bg) / np.where(rest > 1e-9, rest, 1.0), 0.0)


def kendall(a: Floats, b: Floats) -> Floats:
    """Kendall's tau-b along the last dimension."""
    a, b = (np.sign(v[..., :, None] - v[..., None, :]).reshape(*v.shape[:-1], -1) for v in (a, b))
    return _cosine(a, b)


def _cosine(a: Floats, b: Floats) -> Floats:
    length = np.sqrt((a * a).sum(-1) * (b * b).sum(-1))
    return np.where(length > 0, (a * b).sum(-1) / np.where(length > 0, length, 1.0), 0.0)


def _estimate(value: Any, samples: Floats) -> Estimate:
    low, high = np.quantile(samples, [0.025, 0.975])
    return Estimate(float(value), float(low), float(high))

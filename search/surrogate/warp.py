"""Objectives on a scale that models can learn."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]

TAIL = 0.1
"""Share of the values, best first, whose slope is continued beyond the best one."""

FARTHEST = 20.0
"""Largest exponent on the way back: what no model means seriously stays a number."""


class Warp(Protocol):
    """A monotone map from values (n,), small is good, to scores of about mean 0 and deviation 1, and back."""

    def __call__(self, values: Values) -> Values:
        """Values to scores."""
        ...

    def back(self, scores: Values) -> Values:
        """Scores to values."""
        ...


class Ranks:
    """Ranks, spread like a normal distribution.

    Errors of networks have heavy tails: a few that never learned lie ten times as far out as all that matter. Ranks
    do not care. Below the best value the map goes on as a straight line, so that a model may hope for more.

    Args:
        values: what was observed.
        noise: differences below it count as ties.
    """

    def __init__(self, values: Values, noise: float = 0.0) -> None:
        from scipy.special import ndtri  # type: ignore[import-untyped]

        binned = np.round(values / noise) * noise if noise > 0 else values
        self.values, counts = np.unique(binned, return_counts=True)
        self.scores: Values = ndtri((np.cumsum(counts) - counts / 2) / len(values))
        knot = min(len(self.values) - 1, max(2, round(TAIL * len(self.values))))
        rise, run = self.values[knot] - self.values[0], self.scores[knot] - self.scores[0]
        self.slope = float(rise / run) if run > 0 else 1.0

    def __call__(self, values: Values) -> Values:
        """Values to scores."""
        scores: Values = (
            np.interp(values, self.values, self.scores) + np.minimum(values - self.values[0], 0) / self.slope
        )
        return scores

    def back(self, scores: Values) -> Values:
        """Scores to values."""
        values: Values = (
            np.interp(scores, self.scores, self.values) + np.minimum(scores - self.scores[0], 0) * self.slope
        )
        return values


class Straight:
    """Values themselves, of mean 0 and deviation 1; logarithms of those that are worse than a typical one.

    Hypervolume counts differences between the best value and a typical one as they are, so there the map is a straight
    line, and goes on as one beyond the best. Errors of networks have heavy tails: a few that never learned lie ten
    times as far out as all that matter. From the typical value on, the map is a logarithm.

    Args:
        values: what was observed.
        middle: a typical value, at least the best one.
        noise: differences below it count as ties.
    """

    def __init__(self, values: Values, middle: float, noise: float = 0.0) -> None:
        self.noise = noise
        self.best = float(values.min())
        self.span = middle - self.best if middle > self.best else 1.0
        bent = self._bent(values)
        self.mean = float(bent.mean())
        self.deviation = float(bent.std()) or 1.0

    def __call__(self, values: Values) -> Values:
        """Values to scores."""
        scores: Values = (self._bent(values) - self.mean) / self.deviation
        return scores

    def back(self, scores: Values) -> Values:
        """Scores to values."""
        bent = scores * self.deviation + self.mean
        far = np.exp(np.clip(bent - 1, 0, FARTHEST))
        values: Values = np.where(bent < 1, bent, far) * self.span + self.best
        return values

    def _bent(self, values: Values) -> Values:
        """0 for the best value, 1 for the typical one, 2 for one 2.7 times as far from the best."""
        binned = np.round(values / self.noise) * self.noise if self.noise > 0 else values
        share = (binned - self.best) / self.span
        return np.where(share < 1, share, 1 + np.log(np.maximum(share, 1)))

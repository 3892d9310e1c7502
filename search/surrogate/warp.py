"""Objectives on a scale that models can learn: their ranks, spread like a normal distribution."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]

TAIL = 0.1
"""Share of the values, best first, whose slope is continued beyond the best one."""


class Warp:
    """A monotone map from values (n,), small is good, to normal scores, and back.

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

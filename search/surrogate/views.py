"""Two ways to look at the same trials. Proposals take turns, so that where one is stuck the other may not be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from .model import Objectives
from .sites import Features
from .warp import Ranks, Straight, Warp

Values = NDArray[np.float64]

OPTIMISM = 1.0
"""Mean of the number of standard deviations by which a candidate may be better than expected."""

SAMPLES = 16
"""Random values of an objective by which a belief is represented."""


class View(Protocol):
    """How objectives are modelled, what a candidate may reach, and from where its gain is counted."""

    def warps(self, observed: Values, start: Values, noise: Values) -> Sequence[Warp]:
        """The scale on which each objective is modelled, from what was observed (n, m), the random start among it."""
        ...

    def outcomes(self, models: Objectives, features: Features, rng: np.random.Generator) -> Values:
        """Equally likely values (s, k, m) of candidates."""
        ...

    def corner(self, models: Objectives, typical: Features, start: Values) -> Values:
        """What is typical of a random candidate (m,): from there hypervolume is counted."""
        ...


class ByRank:
    """Models see ranks, and a candidate comes out some deviations better than expected; how many is drawn at random.

    Ranks tell apart what lies close together, wherever trials are many.
    """

    def warps(self, observed: Values, start: Values, noise: Values) -> Sequence[Warp]:
        return [Ranks(column, tie) for column, tie in zip(observed.T, noise, strict=True)]

    def outcomes(self, models: Objectives, features: Features, rng: np.random.Generator) -> Values:
        mean, deviation = models.beliefs(features)
        return models.values(mean - OPTIMISM * rng.exponential() * deviation)[None]

    def corner(self, models: Objectives, typical: Features, start: Values) -> Values:
        known = models.values(models.beliefs(typical)[0]) if len(typical) else start
        middle: Values = np.median(known, axis=0)
        return middle


class ByValue:
    """Models see values, and the gain of a candidate is its mean over what may come out.

    Values tell large steps from small ones, also beyond the best, where ranks end.
    """

    def warps(self, observed: Values, start: Values, noise: Values) -> Sequence[Warp]:
        middle = np.median(start, axis=0)
        return [Straight(*column) for column in zip(observed.T, middle, noise, strict=True)]

    def outcomes(self, models: Objectives, features: Features, rng: np.random.Generator) -> Values:
        from scipy.special import ndtri  # type: ignore[import-untyped]

        mean, deviation = models.beliefs(features)
        strata = np.stack([rng.permutation(SAMPLES) for _ in range(mean.shape[1])], axis=1)
        return np.stack([models.values(mean + step * deviation) for step in ndtri((strata + 0.5) / SAMPLES)])

    def corner(self, models: Objectives, typical: Features, start: Values) -> Values:
        middle: Values = np.median(start, axis=0)
        return middle


VIEWS: tuple[View, ...] = (ByRank(), ByValue())

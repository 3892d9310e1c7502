"""By how much points would raise the hypervolume of a front. Every objective is minimised."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from archfront.search.pareto import non_dominated

Values = NDArray[np.float64]

CHUNK = 2_000_000
"""Numbers held at a time."""

MEMBERS = {1: 1, 2: 1000, 3: 40}
"""Members of a front that are told apart, by number of objectives; with more objectives boxes multiply."""


class Improvement:
    """The hypervolume that a point adds to a front.

    What the front leaves free is cut into boxes once (slabs along the last objective, and so on in each slab); a point
    gains from each box the part above it.

    Args:
        front: points (n, m), dominated ones allowed.
        reference: (m,) the corner from which hypervolume is counted.
    """

    def __init__(self, front: Values, reference: Values) -> None:
        inside = front[(front < reference).all(axis=1)]
        inside = inside[non_dominated(inside)]
        self.reference = reference
        boxes = _free(_thinned(inside), reference)
        self.low = np.array([low for low, _ in boxes])
        self.high = np.array([high for _, high in boxes])

    def __call__(self, points: Values) -> Values:
        """The gain (k,) of every point of (k, m), each by itself."""
        return self.expected(points[None])

    def expected(self, outcomes: Values) -> Values:
        """The expected gain (k,) of points whose objectives are independent.

        A box's volume is a product of sides, so its mean is the product of the sides' means: exact, however the
        outcomes of different objectives are paired.

        Args:
            outcomes: (s, k, m) equally likely values of every objective of each point.
        """
        samples, points, _ = outcomes.shape
        gains = np.empty(points)
        step = max(1, CHUNK // (self.low.size * samples))
        for start in range(0, points, step):
            part = outcomes[:, start : start + step, None]
            sides = np.maximum(self.high - np.maximum(self.low, part), 0).mean(axis=0)
            gains[start : start + step] = sides.prod(axis=2).sum(axis=1)
        return gains


def _thinned(front: Values) -> Values:
    """So many members of a front that its boxes can be counted, evenly spaced along the first objective."""
    most = MEMBERS.get(front.shape[1], 12)
    if len(front) <= most:
        return front
    order = np.argsort(front[:, 0], kind="stable")
    kept: Values = front[order[np.linspace(0, len(front) - 1, most).round().astype(int)]]
    return kept


def _free(front: Values, reference: Values) -> list[tuple[list[float], list[float]]]:
    """Disjoint boxes (low corner, high corner) that fill what no row of `front` dominates, up to `reference`."""
    if front.shape[1] == 1:
        return [([-np.inf], [float(min(front[:, 0].min(initial=np.inf), reference[0]))])]
    cuts = [-np.inf, *np.unique(front[:, -1]).tolist(), float(reference[-1])]
    boxes = []
    for below, above in pairwise(cuts):
        there = front[front[:, -1] <= below][:, :-1]
        for low, high in _free(there[non_dominated(there)], reference[:-1]):
            boxes.append(([*low, below], [*high, above]))
    return boxes

"""Bounds on additive costs, as limits that a walk through the graph of a space keeps."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .nodes import CostOf, Node, total
from .spec import Spec
from .types import FeatureType

KEPT_DEAD_ENDS = 300
"""Dead ends that are remembered at a node."""

UNLISTED_TRIES = 200
"""Random options of a part that is not listed that are tried in one place of a bounded walk."""

ROUNDING = 1e-9
"""Allowance for rounding in sums of several costs, each in units of its bound."""


class Bounds(NamedTuple):
    """Lower and upper bounds on additive costs of the parts."""

    cost: CostOf
    low: NDArray[np.float64]
    high: NDArray[np.float64]


class Limits:
    """Bounds as limits on sums of costs, with what the rest of the network takes of each at least, node by node.

    A bound on one metric is one limit, and then the least that a rest takes decides exactly whether it can still be
    kept. Bounds on several metrics can each be within reach and still exclude each other; sums of two or more of them,
    each in units of its bound, are further limits (surrogate constraints: Glover, 1968) that show most of such dead
    ends early. The others are found by turning back, and remembered.
    """

    def __init__(self, bounds: Bounds) -> None:
        self.cost = bounds.cost
        self.width = len(bounds.high)
        identity = np.eye(self.width)
        rows = [identity[np.isfinite(bounds.high)], -identity[np.isfinite(bounds.low)]]
        single = np.concatenate(rows)
        limit = np.concatenate([bounds.high[np.isfinite(bounds.high)], -bounds.low[np.isfinite(bounds.low)]])
        scale = np.where(limit == 0, 1.0, np.abs(limit))
        mixed = np.vstack([np.empty((0, len(limit))), *_mixtures(len(limit))]) / scale
        self.matrix = np.concatenate([single, mixed @ single])
        self.limit = np.concatenate([limit, mixed @ limit])
        self.limit[len(limit) :] += ROUNDING
        self._least: dict[Node, NDArray[np.float64]] = {}
        self._costs: dict[Node, NDArray[np.float64]] = {}
        self._needs: dict[Node, NDArray[np.float64]] = {}
        self._given_up: dict[Node, NDArray[np.float64]] = {}

    def part(self, spec: Spec, x: FeatureType | None) -> NDArray[np.float64]:
        """What one part takes of each limit, (limits,)."""
        found: NDArray[np.float64] = self.matrix @ total(self.cost, spec, x)  # type: ignore[arg-type]
        return found

    def costs(self, node: Node) -> NDArray[np.float64]:
        """What the part that each row of a node decides takes of each limit, (rows, limits)."""
        if node not in self._costs:
            self._costs[node] = node.costs(self.cost, self.width) @ self.matrix.T
        return self._costs[node]

    def needs(self, node: Node) -> NDArray[np.float64]:
        """What each row of a node takes at least of each limit together with everything after it, (rows, limits)."""
        if node not in self._needs:
            rest = np.array([self.least(edge.child) for _, edge, _ in node.rows])
            self._needs[node] = self.costs(node) + rest.reshape(len(node.rows), -1)
        return self._needs[node]

    def least(self, node: Node) -> NDArray[np.float64]:
        """The least that completing a node takes of each limit; of a part that is not listed nothing is known."""
        if node not in self._least:
            if node.done:
                self._least[node] = np.zeros(len(self.limit))
            elif node.unlisted is not None:
                unknown = np.where((self.matrix >= 0).all(axis=1), 0.0, -np.inf)
                self._least[node] = unknown + self.least(node.edges[0].child)
            else:
                self._least[node] = self.needs(node).min(axis=0)
        return self._least[node]

    def open(self, node: Node, slack: NDArray[np.float64]) -> list[int]:
        """The rows of a node from which the end may be reached with this much left of each limit.

        A part that is not listed stands for as many rows as it is worth trying.
        """
        if node.done or (node in self._given_up and (slack <= self._given_up[node]).all(axis=1).any()):
            return []
        if node.unlisted is not None:
            return list(range(UNLISTED_TRIES)) if (self.least(node) <= slack).all() else []
        return [int(i) for i in np.flatnonzero((self.needs(node) <= slack).all(axis=1))]

    def give_up(self, node: Node, slack: NDArray[np.float64]) -> None:
        """Remember that there is no way to the end from here with this much left, nor with less."""
        if node.unlisted is None:
            known = self._given_up.get(node, np.empty((0, len(slack))))
            wider = known[~(known <= slack).all(axis=1)][-KEPT_DEAD_ENDS + 1 :]
            self._given_up[node] = np.concatenate([wider, slack[None]])


def _mixtures(limits: int) -> Iterator[NDArray[np.float64]]:
    """Weights of sums of limits: every pair in three proportions, and all together."""
    for i, j in combinations(range(limits), 2):
        for a, b in ((1.0, 1.0), (1.0, 3.0), (3.0, 1.0)):
            weights = np.zeros(limits)
            weights[[i, j]] = a, b
            yield weights
    if limits > 2:
        yield np.ones(limits)

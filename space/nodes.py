"""Nodes and edges of the graph of partial architectures of a space; `Graph` (walk.py) expands them on demand.

A node is what is left to decide (the rest of the network and the type it is fed); an edge is one part decided.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .network import leaves
from .resolve import Place, raw_size
from .spec import Spec
from .types import FeatureType

Row = tuple[tuple[str, int], ...]
"""Sites decided together, with the index of the option chosen at each."""

CostOf = Callable[[Spec, FeatureType], Sequence[float]]
"""Additive costs of one part, a number a metric."""


class Task(NamedTuple):
    """One link of the network that is still to be decided."""

    place: Place
    value: Any
    at: tuple[int | None, int] | None = None


class State(NamedTuple):
    """What a node stands for: the links left, the type they are fed, and the shared choices that still matter to them."""

    tasks: tuple[Task, ...]
    x: FeatureType | None
    shared: Row = ()


class Edge(NamedTuple):
    """Decisions that lead to the same rest. Sites of `rows` stand below `prefix`; `specs` are the parts they give, if any."""

    prefix: str
    rows: Sequence[Row]
    specs: Sequence[Spec] | None
    child: Node
    unlisted: Spec | None = None

    @property
    def ways(self) -> int:
        """How many ways this edge can be taken."""
        return raw_size(self.unlisted) if self.unlisted is not None else len(self.rows)


class Node:
    """A partial architecture: everything before it is decided, `edges` are the ways to go on.

    Args:
        state: what it stands for.
        expand: the edges out of a state, those without a way to the end included.
    """

    def __init__(self, state: State, expand: Callable[[State], Iterable[Edge]]) -> None:
        self.state = state
        self._expand = expand
        self._extremes: dict[CostOf, tuple[NDArray[np.float64], NDArray[np.float64]]] = {}
        self._costs: dict[CostOf, NDArray[np.float64]] = {}

    @property
    def done(self) -> bool:
        """Whether nothing is left to decide."""
        return not self.state.tasks

    @cached_property
    def edges(self) -> list[Edge]:
        """The ways to go on that reach the end."""
        return [edge for edge in self._expand(self.state) if edge.child.size]

    @cached_property
    def unlisted(self) -> Spec | None:
        """The part that is decided here, where its options are too many to list."""
        return next((edge.unlisted for edge in self.edges if edge.unlisted is not None), None)

    @cached_property
    def size(self) -> int:
        """The number of ways to complete this node: the architectures behind it."""
        return 1 if self.done else sum(edge.ways * edge.child.size for edge in self.edges)

    @cached_property
    def cumulative(self) -> list[int]:
        """Running totals of architectures behind the edges."""
        return list(accumulate(edge.ways * edge.child.size for edge in self.edges))

    @cached_property
    def rows(self) -> list[tuple[Row, Edge, int]]:
        """Every listed decision at this node: sites with full paths, its edge, its index there."""
        listed = []
        for edge in self.edges:
            for index, row in enumerate(edge.rows):
                listed.append((tuple((edge.prefix + site, option) for site, option in row), edge, index))
        return listed

    def costs(self, cost: CostOf, width: int) -> NDArray[np.float64]:
        """Costs of the part that each of `rows` decides, (rows, metrics); 0 where it decides no part."""
        if cost not in self._costs:
            table = np.zeros((len(self.rows), width))
            for i, (_, edge, index) in enumerate(self.rows):
                if edge.specs is not None and self.state.x is not None:
                    table[i] = total(cost, edge.specs[index], self.state.x)
            self._costs[cost] = table
        return self._costs[cost]

    def extremes(self, cost: CostOf, width: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The least and the greatest cost of completing this node, metric by metric."""
        if cost not in self._extremes:
            if self.done:
                self._extremes[cost] = np.zeros(width), np.zeros(width)
            else:
                ends = {id(edge.child): edge.child.extremes(cost, width) for edge in self.edges}
                own = self.costs(cost, width)
                lows = [own[i] + ends[id(edge.child)][0] for i, (_, edge, _) in enumerate(self.rows)]
                highs = [own[i] + ends[id(edge.child)][1] for i, (_, edge, _) in enumerate(self.rows)]
                for edge in self.edges:
                    if edge.unlisted is not None:
                        lows.append(ends[id(edge.child)][0])
                        highs.append(np.full(width, np.inf))
                self._extremes[cost] = np.min(lows, axis=0), np.max(highs, axis=0)
        return self._extremes[cost]


def total(cost: CostOf, spec: Spec, x: FeatureType) -> NDArray[np.float64]:
    """The cost of what an edge decides: of one part, or the sum over the parts that one choice puts at several places."""
    costs = [cost(part.spec, part.input) for part in leaves(spec, x)]
    return np.array([sum(metric) for metric in zip(*costs, strict=True)], float)

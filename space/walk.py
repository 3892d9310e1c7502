"""The graph of partial architectures of a space, with the feature type at every point.

A node is what is left to decide (the rest of the network and the type it is fed); an edge is one part decided. Equal
rests share a node, so counting, uniform sampling and the cheapest or dearest completion are dynamic programs over a few
hundred nodes even where the space holds 10^20 architectures. A combination that cannot be built has no path to the end.
"""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .domains import Domain, Repeat, has_shared, tie_names
from .errors import ShapeError, SpaceError
from .limits import Bounds, Limits
from .network import Chain, Part, leaves
from .nodes import CostOf, Edge, Node, Row, State, Task
from .resolve import Assignment, PickIndex, Place, depth_place, picked, raw_size, resolve, resolve_fields, rows, site_of
from .spec import Spec
from .types import FeatureType
from .unlisted import Choose, extreme_options, only_output, output_of, sample_unlisted, unbuildable, walk_unlisted

LISTED = 50_000
"""Options of one part up to which they are listed one by one; beyond it a part must yield one type whatever is chosen."""

FIRST_STEPS, MOST_STEPS = 250, 4_000
"""Steps of the first and of the last attempt at a bounded walk; each attempt has twice those of the one before."""

KEPT_LIMITS = 8
"""Sets of bounds whose dynamic programs are kept."""


class Visit(NamedTuple):
    """A node on the way through a bounded walk: the picks so far, what is left of the limits, the rows not given up."""

    node: Node
    picks: Assignment
    slack: NDArray[np.float64]
    open: list[int]


class Graph:
    """All partial architectures of `template` fed `x`, expanded on demand."""

    def __init__(self, template: Spec, x: FeatureType) -> None:
        self._nodes: dict[State, Node] = {}
        self._limits: dict[tuple[CostOf, bytes, bytes], Limits] = {}
        self.root = self._node(State((Task(Place(), template),), x))

    def _node(self, state: State) -> Node:
        if state not in self._nodes:
            self._nodes[state] = Node(state, self.expand)
        return self._nodes[state]

    def nodes(self) -> Iterator[Node]:
        """Every node that lies on a path to the end."""
        seen, stack = {id(self.root)}, [self.root]
        while stack:
            node = stack.pop()
            yield node
            for edge in [] if node.done else node.edges:
                if id(edge.child) not in seen:
                    seen.add(id(edge.child))
                    stack.append(edge.child)

    # ------------------------------------------------------------------ expansion

    def expand(self, state: State) -> Iterator[Edge]:
        """The edges out of a state, those without a way to the end included."""
        task, rest = state.tasks[0], state.tasks[1:]
        if isinstance(task.value, Domain):
            yield from self._choose_option(state, task, rest)
            return
        spec = task.value.at(*task.at) if task.at else task.value
        if isinstance(spec, Chain):
            yield from self._enter_chain(state, spec, task.place, rest)
        else:
            yield from self._decide_part(state, spec, task.place, rest)

    def _next(self, tasks: tuple[Task, ...], x: FeatureType | None, shared: Assignment) -> Node:
        """The node with only those shared choices kept that the remaining tasks can still ask for."""
        names = frozenset[str]().union(*(_tie_names(task.value) for task in tasks))
        stars = [task.place.star for task in tasks if task.place.shared or task.place.star != task.place.path]
        kept = (
            (site, index)
            for site, index in sorted(shared.items())
            if site.split(".")[0] in names or any(site.startswith(star) for star in stars)
        )
        return self._node(State(tasks, x if tasks else None, tuple(kept)))

    def _choose_option(self, state: State, task: Task, rest: tuple[Task, ...]) -> Iterator[Edge]:
        domain, where = site_of(task.value, task.place)
        shared = dict(state.shared)
        for index, option in enumerate(domain.options):
            if shared.get(where.path, index) != index:
                continue
            decided: Row = ((where.path, index),) if len(domain.options) > 1 else ()
            known = {**shared, **dict(decided)} if where.shared else shared
            row = () if where.path in shared else decided
            tasks = (Task(where.option(domain, index), option, task.at), *rest)
            yield Edge("", [row], None, self._next(tasks, state.x, known))

    def _enter_chain(self, state: State, chain: Chain, place: Place, rest: tuple[Task, ...]) -> Iterator[Edge]:
        shared = dict(state.shared)

        def decide(pick: PickIndex) -> dict[str, Any]:
            values = resolve_fields(chain, pick, place, skip=chain.linked)
            for name in chain.linked:
                value = getattr(chain, name)
                if isinstance(value, Repeat):
                    domain, where = site_of(value.times, depth_place(place.field(name)))
                    values[name] = (value.template,) * domain.options[picked(domain, where, pick)]
            return values

        own = tuple(getattr(chain, name) for name in chain.__dataclass_fields__)
        for row, values in rows(decide, shared):
            entered = chain.replaced(values, chain.linked)
            try:
                links, x = entered.links(state.x), entered.entry(state.x)
            except ShapeError:
                continue
            tasks = tuple(Task(_link_place(chain, place, link.path), link.spec, link.at) for link in links)
            known = {**shared, **dict(row)} if place.shared or any(map(has_shared, own)) else shared
            yield Edge("", [row], None, self._next(tasks + rest, x, known))

    def _decide_part(self, state: State, spec: Spec, place: Place, rest: tuple[Task, ...]) -> Iterator[Edge]:
        if not spec.has_choices:
            out = output_of(spec, state.x)
            if out is not None:
                yield Edge("", [()], [spec], self._next(rest, out, dict(state.shared)))
        elif raw_size(spec) > LISTED:
            if place.shared or has_shared(spec):
                raise SpaceError(
                    f"{place.path}: {type(spec).__name__} has {raw_size(spec):,} options; a part with shared or tied choices "
                    f"may have at most {LISTED:,}"
                )
            out = only_output(spec, state.x, place)
            yield Edge("", (), None, self._next(rest, out, dict(state.shared)), unlisted=spec)
        elif place.shared or has_shared(spec):
            yield from self._decide_shared_part(state, spec, place, rest)
        else:
            prefix = f"{place.path}." if place.path else ""
            for out, (found, specs) in _options(spec, state.x).items():
                yield Edge(prefix, found, specs, self._next(rest, out, dict(state.shared)))

    def _decide_shared_part(self, state: State, spec: Spec, place: Place, rest: tuple[Task, ...]) -> Iterator[Edge]:
        shared = dict(state.shared)
        groups: dict[int, tuple[Node, list[Row], list[Spec]]] = {}
        for row, concrete in rows(lambda pick: resolve(spec, pick, place), shared):
            out = output_of(concrete, state.x)
            if out is not None:
                child = self._next(rest, out, {**shared, **dict(row)})
                group = groups.setdefault(id(child), (child, [], []))
                group[1].append(row)
                group[2].append(concrete)
        for child, found, specs in groups.values():
            yield Edge("", found, specs, child)

    # ------------------------------------------------------------------ walks

    def sample(self, rng: random.Random) -> Assignment:
        """The picks of one architecture, every architecture of the space equally likely."""
        picks: Assignment = {}
        node = self.root
        if not node.size:
            raise SpaceError("the space is empty: no combination of its choices can be built")
        while not node.done:
            at = bisect_right(node.cumulative, rng.randrange(node.size))
            edge = node.edges[at]
            if edge.unlisted is not None:
                sample_unlisted(node.state, edge.unlisted, picks, rng)
            else:
                for site, index in edge.rows[rng.randrange(len(edge.rows))]:
                    picks[edge.prefix + site] = index
            node = edge.child
        return picks

    def every(self, bounds: Bounds | None) -> Iterator[Assignment]:
        """The picks of every architecture that keeps the bounds, in lexicographic order."""
        limits = self.limits(bounds) if bounds is not None else None

        def below(node: Node, picks: Assignment, slack: NDArray[np.float64]) -> Iterator[Assignment]:
            if node.done:
                yield picks
                return
            if node.unlisted is not None:
                raise SpaceError(
                    f"{node.state.tasks[0].place.path} has {raw_size(node.unlisted):,} options, too many to list"
                )
            for i in limits.open(node, slack) if limits else range(len(node.rows)):
                row, edge, _ = node.rows[i]
                left = slack - limits.costs(node)[i] if limits else slack
                yield from below(edge.child, {**picks, **dict(row)}, left)

        return below(self.root, {}, limits.limit if limits else np.zeros(0))

    def walk(self, choose: Choose, domains: dict[str, Domain], bounds: Bounds | None = None) -> Assignment:
        """The picks that `choose` makes site by site; it is offered only options from which the end can be reached.

        With `bounds`, only options from which the bounds can still be kept; see `within`.
        """
        if bounds is not None:
            return self._walk_within(choose, domains, self.limits(bounds))
        picks: Assignment = {}
        node = self.root
        while not node.done:
            if node.unlisted is not None:
                if walk_unlisted(node.state, node.unlisted, picks, choose, domains) is None:
                    raise unbuildable(node.state, node.unlisted)
                node = node.edges[0].child
                continue
            if not node.rows:
                raise SpaceError("the space is empty: no combination of its choices can be built")
            row = self._narrow(node, list(range(len(node.rows))), picks, choose, domains)
            node = node.rows[row][1].child
        return picks

    def limits(self, bounds: Bounds) -> Limits:
        """What the bounds mean at every node; kept for bounds that come again."""
        key = bounds.cost, bounds.low.tobytes(), bounds.high.tobytes()
        found = self._limits.pop(key, None) or Limits(bounds)
        self._limits[key] = found  # the latest last
        if len(self._limits) > KEPT_LIMITS:
            del self._limits[next(iter(self._limits))]
        return found

    def _walk_within(self, choose: Choose, domains: dict[str, Domain], limits: Limits) -> Assignment:
        """A walk that turns back where no way on keeps the limits; what was given up stays so for later walks.

        An early choice that leaves next to nothing costs much turning back, so a random walk starts anew after ever
        longer attempts (Gomes, Selman and Kautz, 1998, Boosting Combinatorial Search Through Randomization).
        """
        steps = FIRST_STEPS
        while steps <= MOST_STEPS:
            picks = self._attempt(choose, domains, limits, steps)
            if picks is not None:
                return picks
            steps *= 2
        raise SpaceError("no architecture that keeps all bounds together was found; there may be a few all the same")

    def _attempt(self, choose: Choose, domains: dict[str, Domain], limits: Limits, steps: int) -> Assignment | None:
        """One attempt; None where it takes more than `steps` steps, those back included."""
        path = [Visit(self.root, {}, limits.limit, limits.open(self.root, limits.limit))]
        for _ in range(steps):
            node, picks, slack, open_rows = path[-1]
            if node.done:
                return picks
            picks = dict(picks)
            if node.unlisted is not None and open_rows:
                open_rows.pop()
                spec = walk_unlisted(node.state, node.unlisted, picks, choose, domains)
                if spec is None:
                    continue
                own, child = limits.part(spec, node.state.x), node.edges[0].child
            elif open_rows:
                row = self._narrow(node, open_rows, picks, choose, domains)
                own, child = limits.costs(node)[row], node.rows[row][1].child
                open_rows.remove(row)
            else:
                limits.give_up(node, slack)
                path.pop()
                if not path:
                    raise SpaceError("no architecture of the space keeps all bounds together")
                continue
            left = slack - own
            path.append(Visit(child, picks, left, limits.open(child, left)))
        return None

    def _narrow(
        self, node: Node, allowed: list[int], picks: Assignment, choose: Choose, domains: dict[str, Domain]
    ) -> int:
        """Choose among the rows of a node one site after the other; the index of the row."""
        listed = node.rows
        depth = 0
        while True:
            row = listed[allowed[0]][0]
            if depth == len(row):
                return allowed[0]
            site = row[depth][0]
            feasible = sorted({listed[i][0][depth][1] for i in allowed})
            index = choose(site, domains[site], feasible)
            if index not in feasible:
                raise SpaceError(
                    f"{site}: {domains[site].options[index]!r} cannot be built here; possible: "
                    f"{', '.join(repr(domains[site].options[i]) for i in feasible)}"
                )
            picks[site] = index
            allowed = [i for i in allowed if listed[i][0][depth][1] == index]
            depth += 1

    def parts(self) -> Iterator[Part]:
        """Every distinct part at every place, with each input type that it can stand behind there.

        Of a part with too many options to list, those that differ from the last option of every site at one site.
        """
        seen: set[Part] = set()
        for node in self.nodes():
            if node.done or node.state.x is None:
                continue
            path = node.state.tasks[0].place.position
            for edge in node.edges:
                specs = extreme_options(edge.unlisted, node.state) if edge.unlisted is not None else edge.specs or ()
                for part in (part for spec in specs for part in leaves(spec, node.state.x, path)):
                    if part not in seen:
                        seen.add(part)
                        yield part


@lru_cache(maxsize=4096)
def _tie_names(value: Any) -> frozenset[str]:
    return tie_names(value)


def _link_place(chain: Chain, place: Place, path: str) -> Place:
    if not path:
        return place
    name, bracket, index = path.partition("[")
    return place.field(name).item(int(index[:-1]), name in chain.repeated) if bracket else place.field(name)


@lru_cache(maxsize=4096)
def _options(spec: Spec, x: FeatureType | None) -> dict[FeatureType, tuple[list[Row], list[Spec]]]:
    """The ways to fill the choices of a part that can be built, by the type that comes out; sites relative to the part."""
    groups: dict[FeatureType, tuple[list[Row], list[Spec]]] = {}
    for row, concrete in rows(lambda pick: resolve(spec, pick)):
        out = output_of(concrete, x)
        if out is not None:
            group = groups.setdefault(out, ([], []))
            group[0].append(row)
            group[1].append(concrete)
    return groups

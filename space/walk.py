"""The graph of partial architectures of a space, with the feature type at every point.

A node is what is left to decide (the rest of the network and the type it is fed); an edge is one part decided. Equal
rests share a node, so counting, uniform sampling and the cheapest or dearest completion are dynamic programs over a few
hundred nodes even where the space holds 10^20 architectures. A combination that cannot be built has no path to the end.
"""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, lru_cache
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .domains import Domain, Repeat, has_shared, tie_names
from .errors import ShapeError, SpaceError
from .network import Chain, Part
from .resolve import Assignment, PickIndex, Place, depth_place, raw_size, resolve, resolve_fields, rows, site_of
from .spec import Spec
from .types import FeatureType

LISTED = 50_000
"""Options of one part up to which they are listed one by one; beyond it a part must yield one type whatever is chosen."""

Row = tuple[tuple[str, int], ...]
"""Sites decided together, with the index of the option chosen at each."""

Choose = Callable[[str, Domain, Sequence[int]], int]
"""Chooses among the feasible options (indices) of a site."""

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


class Bounds(NamedTuple):
    """Lower and upper bounds on additive costs of the parts."""

    cost: CostOf
    low: NDArray[np.float64]
    high: NDArray[np.float64]


class Node:
    """A partial architecture: everything before it is decided, `edges` are the ways to go on."""

    def __init__(self, graph: Graph, state: State) -> None:
        self.graph = graph
        self.state = state
        self._extremes: dict[CostOf, tuple[NDArray[np.float64], NDArray[np.float64]]] = {}
        self._costs: dict[CostOf, NDArray[np.float64]] = {}

    @property
    def done(self) -> bool:
        """Whether nothing is left to decide."""
        return not self.state.tasks

    @cached_property
    def edges(self) -> list[Edge]:
        """The ways to go on that reach the end."""
        return [edge for edge in self.graph.expand(self.state) if edge.child.size]

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
                    table[i] = cost(edge.specs[index], self.state.x)
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


class Graph:
    """All partial architectures of `template` fed `x`, expanded on demand."""

    def __init__(self, template: Spec, x: FeatureType) -> None:
        self._nodes: dict[State, Node] = {}
        self.root = self._node(State((Task(Place(), template),), x))

    def _node(self, state: State) -> Node:
        if state not in self._nodes:
            self._nodes[state] = Node(self, state)
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
                    index = pick(where.path, domain) if len(domain.options) > 1 else 0
                    values[name] = (value.template,) * domain.options[index]
            return values

        own = tuple(getattr(chain, name) for name in chain.__dataclass_fields__)
        for row, values in rows(decide, shared):
            entered = chain.replaced(values, chain.linked)
            try:
                links = entered.links(state.x)
            except ShapeError:
                continue
            tasks = tuple(Task(_link_place(chain, place, link.path), link.spec, link.at) for link in links)
            known = {**shared, **dict(row)} if place.shared or any(map(has_shared, own)) else shared
            yield Edge("", [row], None, self._next(tasks + rest, state.x, known))

    def _decide_part(self, state: State, spec: Spec, place: Place, rest: tuple[Task, ...]) -> Iterator[Edge]:
        if not spec.has_choices:
            out = _output(spec, state.x)
            if out is not None:
                yield Edge("", [()], [spec], self._next(rest, out, dict(state.shared)))
        elif raw_size(spec) > LISTED:
            if place.shared or has_shared(spec):
                raise SpaceError(
                    f"{place.path}: {type(spec).__name__} has {raw_size(spec):,} options; a part with shared or tied choices "
                    f"may have at most {LISTED:,}"
                )
            out = _only_output(spec, state.x, place)
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
            out = _output(concrete, state.x)
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
                _sample_unlisted(node.state, edge.unlisted, picks, rng)
            else:
                for site, index in edge.rows[rng.randrange(len(edge.rows))]:
                    picks[edge.prefix + site] = index
            node = edge.child
        return picks

    def walk(self, choose: Choose, domains: dict[str, Domain], bounds: Bounds | None = None) -> Assignment:
        """The picks that `choose` makes site by site; it is offered only options from which the end can be reached.

        With `bounds`, only options from which each bound can still be kept: for one metric that makes every walk
        feasible; for several together a walk can still run into `SpaceError`, and the caller tries again.
        """
        picks: Assignment = {}
        node = self.root
        spent = np.zeros(len(bounds.high)) if bounds else np.zeros(0)
        while not node.done:
            if any(edge.unlisted is not None for edge in node.edges):
                edge = node.edges[0]
                _walk_unlisted(node.state, edge, picks, choose, domains)
                node = edge.child
                continue
            allowed = self._allowed(node, bounds, spent)
            _, edge, index = self._narrow(node, allowed, picks, choose, domains)
            if bounds and edge.specs is not None and node.state.x is not None:
                spent = spent + np.asarray(bounds.cost(edge.specs[index], node.state.x))
            node = edge.child
        return picks

    def _allowed(self, node: Node, bounds: Bounds | None, spent: NDArray[np.float64]) -> list[int]:
        if not node.rows:
            raise SpaceError("the space is empty: no combination of its choices can be built")
        if bounds is None:
            return list(range(len(node.rows)))
        width = len(bounds.high)
        own = spent + node.costs(bounds.cost, width)
        ends = {id(edge.child): edge.child.extremes(bounds.cost, width) for edge in node.edges}
        low = own + np.array([ends[id(edge.child)][0] for _, edge, _ in node.rows])
        high = own + np.array([ends[id(edge.child)][1] for _, edge, _ in node.rows])
        good = ((low <= bounds.high) & (high >= bounds.low)).all(axis=1)
        if not good.any():
            raise SpaceError("no completion keeps all bounds together")
        return [int(i) for i in np.flatnonzero(good)]

    def _narrow(
        self, node: Node, allowed: list[int], picks: Assignment, choose: Choose, domains: dict[str, Domain]
    ) -> tuple[Row, Edge, int]:
        """Choose among the rows of a node one site after the other."""
        listed = node.rows
        depth = 0
        while True:
            row = listed[allowed[0]][0]
            if depth == len(row):
                return listed[allowed[0]]
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
                specs = _extreme_options(edge.unlisted, node.state) if edge.unlisted is not None else edge.specs or ()
                for part in (Part(path, spec, node.state.x) for spec in specs):
                    if part not in seen:
                        seen.add(part)
                        yield part


def _extreme_options(spec: Spec, state: State) -> list[Spec]:
    """The last option everywhere, and every change of it at one site, of a part with too many options to list."""
    place, shared = state.tasks[0].place, dict(state.shared)
    found: dict[Spec, None] = {}

    def explore(wanted: Assignment) -> Assignment:
        sizes: Assignment = {}

        def pick(site: str, domain: Domain) -> int:
            sizes[site] = len(domain.options)
            return shared.get(site, wanted.get(site, len(domain.options) - 1))

        concrete = resolve(spec, pick, place)
        if _output(concrete, state.x) is not None:
            found[concrete] = None
        return sizes

    pending: list[Assignment] = [{}]
    known: set[str] = set()
    while pending:
        wanted = pending.pop()
        for site, size in explore(wanted).items():
            if site not in known:
                known.add(site)
                pending += [{**wanted, site: index} for index in range(size)]
    return list(found)


@lru_cache(maxsize=4096)
def _tie_names(value: Any) -> frozenset[str]:
    return tie_names(value)


def _link_place(chain: Chain, place: Place, path: str) -> Place:
    if not path:
        return place
    name, bracket, index = path.partition("[")
    return place.field(name).item(int(index[:-1]), name in chain.repeated) if bracket else place.field(name)


def _output(spec: Spec, x: FeatureType | None) -> FeatureType | None:
    try:
        return spec.output(x)
    except ShapeError:
        return None


@lru_cache(maxsize=4096)
def _options(spec: Spec, x: FeatureType | None) -> dict[FeatureType, tuple[list[Row], list[Spec]]]:
    """The ways to fill the choices of a part that can be built, by the type that comes out; sites relative to the part."""
    groups: dict[FeatureType, tuple[list[Row], list[Spec]]] = {}
    for row, concrete in rows(lambda pick: resolve(spec, pick)):
        out = _output(concrete, x)
        if out is not None:
            group = groups.setdefault(out, ([], []))
            group[0].append(row)
            group[1].append(concrete)
    return groups


def _only_output(spec: Spec, x: FeatureType | None, place: Place, probes: int = 300) -> FeatureType:
    """The one type that a part with too many options to list yields; probed on random options."""
    rng = random.Random(0)
    found: set[FeatureType] = set()
    for _ in range(probes):
        picks: Assignment = {}
        _sample_unlisted(State((Task(place, spec),), x), spec, picks, rng, tries=1)
        known = dict(picks)
        found.add(resolve(spec, lambda site, _: known[site], place).output(x))  # noqa: B023
    if len(found) != 1:
        raise SpaceError(
            f"{place.path}: {type(spec).__name__} has {raw_size(spec):,} options, too many to list, and yields different "
            f"types ({', '.join(map(str, found))}); move the choice that changes the type out of it"
        )
    return found.pop()


def _sample_unlisted(state: State, spec: Spec, picks: Assignment, rng: random.Random, tries: int = 1000) -> None:
    """Random picks for a part whose options are too many to list, as often as it takes to find one that can be built."""
    place, shared = state.tasks[0].place, dict(state.shared)
    for _ in range(tries):
        new = dict(shared)

        def pick(site: str, domain: Domain) -> int:
            if site not in new:  # noqa: B023
                sizes = [raw_size(option) for option in domain.options]
                new[site] = rng.choices(range(len(sizes)), weights=[float(n) for n in sizes])[0]  # noqa: B023
            return new[site]  # noqa: B023

        if _output(resolve(spec, pick, place), state.x) is not None:
            picks.update(new)
            return
    raise SpaceError(
        f"{place.path}: {type(spec).__name__} has {raw_size(spec):,} options, too many to list, and some cannot be built "
        f"on {state.x}; narrow its choices to those that fit"
    )


def _walk_unlisted(state: State, edge: Edge, picks: Assignment, choose: Choose, domains: dict[str, Domain]) -> None:
    def pick(site: str, domain: Domain) -> int:
        if site not in picks:
            picks[site] = choose(site, domains[site], range(len(domain.options)))
        return picks[site]

    concrete = resolve(edge.unlisted, pick, state.tasks[0].place)
    concrete.output(state.x)

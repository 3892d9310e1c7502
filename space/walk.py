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
from itertools import accumulate, combinations
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .domains import Domain, Repeat, has_shared, tie_names
from .errors import ShapeError, SpaceError
from .network import Chain, Part, leaves
from .resolve import Assignment, PickIndex, Place, depth_place, picked, raw_size, resolve, resolve_fields, rows, site_of
from .spec import Spec
from .types import FeatureType

LISTED = 50_000
"""Options of one part up to which they are listed one by one; beyond it a part must yield one type whatever is chosen."""

FIRST_STEPS, MOST_STEPS = 250, 4_000
"""Steps of the first and of the last attempt at a bounded walk; each attempt has twice those of the one before."""

KEPT_DEAD_ENDS = 300
"""Dead ends that are remembered at a node."""

UNLISTED_TRIES = 200
"""Random options of a part that is not listed that are tried in one place of a bounded walk."""

KEPT_LIMITS = 8
"""Sets of bounds whose dynamic programs are kept."""

ROUNDING = 1e-9
"""Allowance for rounding in sums of several costs, each in units of its bound."""

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


class Visit(NamedTuple):
    """A node on the way through a bounded walk: the picks so far, what is left of the limits, the rows not given up."""

    node: Node
    picks: Assignment
    slack: NDArray[np.float64]
    open: list[int]


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
                    table[i] = _total(cost, edge.specs[index], self.state.x)
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
        found: NDArray[np.float64] = self.matrix @ _total(self.cost, spec, x)  # type: ignore[arg-type]
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


class Graph:
    """All partial architectures of `template` fed `x`, expanded on demand."""

    def __init__(self, template: Spec, x: FeatureType) -> None:
        self._nodes: dict[State, Node] = {}
        self._limits: dict[tuple[CostOf, bytes, bytes], Limits] = {}
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
                _walk_unlisted(node.state, node.unlisted, picks, choose, domains)
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
                spec = _walk_unlisted(node.state, node.unlisted, picks, choose, domains)
                own, child = limits.part(spec, node.state.x), node.edges[0].child
                open_rows.pop()
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
                specs = _extreme_options(edge.unlisted, node.state) if edge.unlisted is not None else edge.specs or ()
                for part in (part for spec in specs for part in leaves(spec, node.state.x, path)):
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


def _total(cost: CostOf, spec: Spec, x: FeatureType) -> NDArray[np.float64]:
    """The cost of what an edge decides: of one part, or the sum over the parts that one choice puts at several places."""
    costs = [cost(part.spec, part.input) for part in leaves(spec, x)]
    return np.array([sum(metric) for metric in zip(*costs, strict=True)], float)


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


def _walk_unlisted(state: State, part: Spec, picks: Assignment, choose: Choose, domains: dict[str, Domain]) -> Spec:
    def pick(site: str, domain: Domain) -> int:
        if site not in picks:
            picks[site] = choose(site, domains[site], range(len(domain.options)))
        return picks[site]

    concrete: Spec = resolve(part, pick, state.tasks[0].place)
    concrete.output(state.x)
    return concrete

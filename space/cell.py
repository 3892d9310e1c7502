"""Search cells: small graphs of operators, drawn once and repeated along a network.

A cell starts from two states, 0 the output of the cell before the last and 1 that of the last, and adds nodes to them,
each the sum or the concatenation of two paths. A path is a choice of an earlier state and of an operator. One choice
serves every position at which the cell stands, so what a path costs is the sum over these positions: a path is decided
for all of them at once, and the type that flows from decision to decision is a `Wiring`, which says what is known of the
stack of cells so far.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Annotated, Any, Literal, NamedTuple

from torch import nn

from .domains import one_of
from .errors import ShapeError
from .network import Chain, Composite, Link, Part
from .spec import NonNegative, Operator, Rule
from .types import Feature, FeatureType, Pyramid


class CellStack(NamedTuple):
    """How cells follow one another on an input `x`; the fields are those of the `Cells` topology."""

    x: Feature
    width: int
    repeats: int
    reductions: int
    stem_cells: int
    skip_reduction: bool
    pyramid: bool

    @property
    def levels(self) -> tuple[int, ...]:
        """The positions whose outputs are those of the stack, by index."""
        ends = range(self.stem_cells + self.repeats - 1, len(positions(self)), self.repeats + 1)
        return tuple(ends) if self.pyramid else (ends[-1],)


class Position(NamedTuple):
    """One place in a stack of cells.

    Args:
        name: of the place, the same in stacks of other lengths.
        reduction: which of the two cells stands there.
        node: the type of what every path there yields.
        sources: the cells whose outputs are its states 0 and 1, by index; -1 is the input of the stack.
        states: the types of its states 0 and 1 as paths see them.
        stride: of paths from these states.
    """

    name: str
    reduction: bool
    node: Feature
    sources: tuple[int, int]
    states: tuple[Feature, Feature]
    stride: int


@lru_cache(maxsize=1024)
def positions(stack: CellStack) -> tuple[Position, ...]:
    """The places of a stack in the order of the forward pass.

    Stem cells reduce and double the width up to `stack.width`; then come `repeats` normal cells, a reduction with twice
    the width, normal cells again, and so on.
    """
    places = [(f"stem{i}", True, max(1, stack.width >> (stack.stem_cells - i))) for i in range(stack.stem_cells)]
    for section in range(stack.reductions + 1):
        width = stack.width << section
        places += [(f"reduction{section}", True, width)] if section else []
        places += [(f"section{section}.cell{i}", False, width) for i in range(stack.repeats)]
    found: list[Position] = []
    for i, (name, reduction, width) in enumerate(places):
        size = found[-1].node.size if found else stack.x.size
        state = Feature(width, size)
        before = stack.x if i == 0 and reduction else state  # a stem cell sees the stem itself
        behind_reduction = i > stack.stem_cells and found[-1].reduction
        sources = (max(-1, i - 3 if stack.skip_reduction and behind_reduction else i - 2), i - 1)
        stride = 2 if reduction else 1
        found.append(Position(name, reduction, state.at(width, stride), sources, (before, state), stride))
    return tuple(found)


@dataclass(frozen=True)
class CellEnd:
    """What the rest of the stack has to know of a cell.

    Args:
        width: of its output, in units of F.
        reads_before: whether it reads state 0.
        segments: what each of these units is: the first node's are numbered first, those of states 0 and 1 last.
            What a stack costs does not depend on them.
    """

    width: int
    reads_before: bool
    segments: tuple[int, ...] = field(default=(), compare=False)

    def output(self, node: Feature) -> Feature:
        """The type of its output where every path yields `node`."""
        return replace(node.at(self.width * node.channels), segments=self.segments)


@dataclass(frozen=True)
class Wiring(FeatureType):
    """What is decided of a stack of cells: the cells that are done, and the states of the one that is being decided.

    Args:
        stack: where the cells stand.
        done: the normal cell and the reduction cell, as far as decided.
        used: for every state of the present cell, whether a path reads it.
        widths: of these states, in units of F.
        keep: states that the output of the present cell holds in any case.
        node: the width of the node whose paths are being decided.
        half: whether the first of them is decided and the second is not.
    """

    stack: CellStack
    done: tuple[CellEnd, ...] = ()
    used: tuple[bool, ...] = ()
    widths: tuple[int, ...] = ()
    keep: tuple[int, ...] = ()
    node: int = 1
    half: bool = False

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        return ()

    @property
    def reduction(self) -> bool:
        """Whether the present cell is the reduction cell, which comes second."""
        return len(self.done) == 1

    def __str__(self) -> str:
        return f"{len(self.used)} states" if self.used else f"stack on {self.stack.x}"

    def start(self, keep: tuple[int, ...]) -> Wiring:
        """The present cell done, if there is one, and the next begun."""
        return Wiring(self.stack, self.ends() if self.used else (), (False, False), (1, 1), keep)

    def begin(self, width: int) -> Wiring:
        """The same at the first path of a node of this width."""
        return replace(self, node=width)

    def read(self, source: int) -> Wiring:
        """The same once another path reads the state `source`."""
        if source >= len(self.used):
            raise ShapeError(f"there is no state {source} yet; use 0 to {len(self.used) - 1}")
        used = tuple(known or i == source for i, known in enumerate(self.used))
        if not self.half:
            return replace(self, used=used, half=True)
        return replace(self, used=(*used, False), widths=(*self.widths, self.node), node=1, half=False)

    def ends(self) -> tuple[CellEnd, ...]:
        """The cells that are done, the present one included."""
        kind = "reduction" if self.reduction else "normal"
        if not self.used[1]:
            raise ShapeError(f"the {kind} cell reads nothing of the cell before it; give one of its paths source 1")
        if any(state >= len(self.used) for state in self.keep):
            raise ShapeError(f"keep {self.keep}: the {kind} cell has states 0 to {len(self.used) - 1}")
        if self.reduction and min(self.keep, default=2) < 2:
            raise ShapeError(f"keep {self.keep}: states 0 and 1 of a reduction cell are larger than its output")
        outputs = {i for i, used in enumerate(self.used) if i > 1 and not used} | set(self.keep)
        segments = tuple(unit for state in sorted(outputs) for unit in self._units(state))
        return *self.done, CellEnd(len(segments), self.used[0] or 0 in self.keep, segments)

    def _units(self, state: int) -> range:
        """The numbers of the units that a state is made of."""
        before = self.widths[2:state] if state > 1 else (*self.widths[2:], *self.widths[:state])
        return range(sum(before), sum(before) + self.widths[state])


class CellPath(Composite):
    """F s, F an operator and s a state: one of the two halves of a node, at every position of its cell.

    Args:
        source: which state; 0 and 1 are the outputs of the cell before the last and of the last, 2 is the first node.
        operator: F; it is given the width of the position, and stride 2 on the inputs of a reduction cell.
    """

    source: NonNegative
    operator: Operator

    def parts(self, x: Wiring) -> list[Part]:
        x.read(self.source)
        return list(_path_parts(self, x.stack, x.reduction, x.widths[self.source]))

    def output(self, x: Wiring) -> Wiring:
        self.parts(x)
        return x.read(self.source)

    def join(self, modules: Sequence[nn.Module]) -> nn.Module:
        return nn.ModuleList(modules)


@lru_cache(maxsize=1 << 14)
def _path_parts(path: CellPath, stack: CellStack, reduction: bool, width: int) -> tuple[Part, ...]:
    parts = []
    for position in positions(stack):
        if position.reduction != reduction:
            continue
        first = path.source < 2
        given = position.states[path.source] if first else position.node.at(width * position.node.channels)
        operator = path.operator.at(position.node.channels, position.stride if first else 1)
        try:
            found = operator.output(given)
        except ShapeError as error:
            raise error.inside("operator") from None
        if found != position.node:
            raise ShapeError(f"{type(operator).__name__} must yield {position.node} for {given}, but yields {found}")
        parts.append(Part(position.name, operator, given))
    return tuple(parts)


Combination = Literal["add", "concat"]


class CellNode(Chain):
    """left + right, or [left, right]: a new state.

    Args:
        left: the first path.
        right: the second path.
        combine: whether they are added or concatenated along the channels.
    """

    left: CellPath
    right: CellPath
    combine: Combination = "add"
    linked = ("left", "right")

    def entry(self, x: Wiring) -> Wiring:
        return x.begin(1 if self.combine == "add" else 2)

    def links(self, x: Wiring) -> tuple[Link, ...]:
        return Link("left", self.left), Link("right", self.right)


class Cell(Chain):
    """Nodes one after the other; the output is the concatenation of all nodes that no other node reads.

    Args:
        nodes: each reads the states before it.
        keep: states that the output holds although they are read.
    """

    nodes: Annotated[tuple[CellNode, ...], Rule("a tuple of at least one node", len)]
    keep: tuple[NonNegative, ...] = ()
    linked = ("nodes",)

    def entry(self, x: Any) -> Wiring:
        if not isinstance(x, Wiring):
            raise ShapeError(f"a cell stands in a stack of cells, such as the topology Cells, not behind {x}")
        return x.start(self.keep)

    def links(self, x: Wiring) -> tuple[Link, ...]:
        return tuple(Link(f"nodes[{i}]", node) for i, node in enumerate(self.nodes))

    @property
    def sources(self) -> tuple[int, ...]:
        """The state that each path reads, two a node; nothing is left to choose."""
        return tuple(path.source for node in self.nodes for path in (node.left, node.right))

    @property
    def outputs(self) -> tuple[int, ...]:
        """The states that the output holds; nothing is left to choose."""
        unused = set(range(2, 2 + len(self.nodes))) - set(self.sources)
        return tuple(sorted(unused | set(self.keep)))

    @property
    def concatenated(self) -> tuple[int, ...]:
        """The states that are concatenations; nothing is left to choose."""
        return tuple(i for i, node in enumerate(self.nodes, start=2) if node.combine == "concat")

    @property
    def reads_before(self) -> bool:
        """Whether state 0 matters; nothing is left to choose."""
        return 0 in self.sources + self.keep


class CellInputs(Composite):
    """What brings the outputs of earlier cells to the width and size of a cell, for states 0 and 1 of every position.

    Args:
        project: for another width, and always for state 1.
        reduce: for state 0 where it is larger than state 1.
        fit: for a state 0 that fits already.
    """

    project: Operator
    reduce: Operator
    fit: Operator

    def parts(self, x: Wiring) -> list[Part]:
        ends, stack = x.ends(), positions(x.stack)
        parts = []
        for position in stack:
            for state, name in enumerate(("before", "last")):
                if state == 0 and not ends[position.reduction].reads_before:
                    continue
                source, wanted = position.sources[state], position.states[state]
                given = x.stack.x
                if source >= 0:
                    given = ends[stack[source].reduction].output(stack[source].node)
                if given.size != wanted.size:
                    operator = self.reduce.at(wanted.channels, 2)
                else:
                    operator = (self.fit if state == 0 and given == wanted else self.project).at(wanted.channels, 1)
                parts.append(Part(f"{position.name}.{name}", operator, given))
        return parts

    def output(self, x: Wiring) -> Pyramid:
        ends, stack = x.ends(), positions(x.stack)
        last = (stack[i].node for i in x.stack.levels)
        return Pyramid(tuple(ends[False].output(node) for node in last))

    def join(self, modules: Sequence[nn.Module]) -> nn.Module:
        return nn.ModuleList(modules)


def pair(left: tuple[int, Operator], right: tuple[int, Operator], combine: Combination = "add") -> CellNode:
    """A node, written as two pairs of source and operator."""
    paths = (CellPath(source=source, operator=operator) for source, operator in (left, right))
    return CellNode(left=next(paths), right=next(paths), combine=combine)


def searched_cell(nodes: int, operator: Operator, combine: Combination = "add") -> Cell:
    """A cell in which the source of every path is a choice among all states before it, and its operator is `operator`.

    State 1 is listed first: in this order sources are names to a search, not sizes, of which one would be the largest.
    """

    paths = [(one_of(1, 0, *range(2, 2 + node)), operator) for node in range(nodes)]
    return Cell(nodes=tuple(pair(path, path, combine) for path in paths))

"""Stacks of search cells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from archfront.space.cell import Cell, CellInputs, CellStack, Wiring, pair, positions
from archfront.space.domains import one_of
from archfront.space.library.common import image
from archfront.space.library.layers import DropPath
from archfront.space.library.operator.asymmetric import AsymmetricConv
from archfront.space.library.operator.conv import Conv
from archfront.space.library.operator.factorised_reduction import FactorisedReduction
from archfront.space.library.operator.pool import Pool
from archfront.space.library.operator.preactivated import Preactivated
from archfront.space.library.operator.skip import Skip, SkipConnection
from archfront.space.library.operator.stacked_separable import StackedSeparable
from archfront.space.network import Chain, Link
from archfront.space.spec import NonNegative, Operator, Paper, Positive, Probability, Topology
from archfront.space.types import Feature, Pyramid


class CellModule(nn.Module):
    """Adds one node after the other to two states, each the sum of two paths, and concatenates some of the states.

    Path i reads state `sources[i]`; paths 0 and 1 make state 2, paths 2 and 3 state 3, and so on. States that are named
    in `concatenated` hold their two paths side by side instead of the sum. In training every path but a skip connection
    is dropped for a whole sample with probability `drop_path`.
    """

    def __init__(
        self,
        before: nn.Module,
        last: nn.Module,
        paths: tuple[nn.Module, ...],
        sources: tuple[int, ...],
        outputs: tuple[int, ...],
        concatenated: tuple[int, ...] = (),
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.before = before
        self.last = last
        self.paths = nn.ModuleList(paths)
        self.sources = sources
        self.outputs = outputs
        self.concatenated = concatenated
        self.drop_path = DropPath(drop_path)

    def forward(self, before: Tensor, last: Tensor) -> Tensor:
        states = [self.before(before), self.last(last)]
        for left in range(0, len(self.paths), 2):
            paths = [self.path(left, states), self.path(left + 1, states)]
            states.append(torch.cat(paths, 1) if len(states) in self.concatenated else paths[0] + paths[1])
        return torch.cat([states[i] for i in self.outputs], 1)

    def path(self, i: int, states: list[Tensor]) -> Tensor:
        """One half of a node."""
        path = self.paths[i]
        y: Tensor = path(states[self.sources[i]])
        return y if isinstance(path, SkipConnection) else self.drop_path(y)


class StackedCells(nn.Module):
    """Cells that each read two results: 0 is the input, i + 1 the output of cell i. Yields those in `levels`."""

    def __init__(
        self, cells: tuple[nn.Module, ...], sources: tuple[tuple[int, int], ...], levels: tuple[int, ...]
    ) -> None:
        super().__init__()
        self.cells = nn.ModuleList(cells)
        self.sources = sources
        self.levels = levels

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        results = [x]
        for cell, (before, last) in zip(self.cells, self.sources, strict=True):
            results.append(cell(results[before], results[last]))
        return tuple(results[i] for i in self.levels)


SEP3, SEP5, SEP7 = (StackedSeparable(kernel=kernel) for kernel in (3, 5, 7))
AVERAGE, MAXIMUM = Pool(mode="average"), Pool(mode="max")

NASNET_OPERATORS: Operator = one_of(
    Skip(),
    Pool(mode="average"),
    Pool(mode="max", kernel=one_of(3, 5, 7)),
    StackedSeparable(kernel=one_of(3, 5, 7)),
    Preactivated(
        operator=one_of(Conv(kernel=one_of(1, 3)), Conv(kernel=3, dilation=2), AsymmetricConv(kernel=one_of(3, 7)))
    ),
)
"""The thirteen operators of the NASNet search space."""

NASNET_A_NORMAL = Cell(
    nodes=(
        pair((1, SEP5), (0, SEP3)),
        pair((0, SEP5), (0, SEP3)),
        pair((1, AVERAGE), (0, Skip())),
        pair((0, AVERAGE), (0, AVERAGE)),
        pair((1, SEP3), (1, Skip())),
    ),
    keep=(0,),
)

NASNET_A_REDUCTION = Cell(
    nodes=(
        pair((1, SEP5), (0, SEP7)),
        pair((1, MAXIMUM), (0, SEP7)),
        pair((1, AVERAGE), (0, SEP5)),
        pair((3, Skip()), (2, AVERAGE)),
        pair((2, SEP3), (1, MAXIMUM)),
    ),
    keep=(3,),
)


class Cells(Chain, Topology):
    """Feature to a pyramid: `repeats` normal cells, a reduction cell, `repeats` normal cells, ..., all on F = `width`.

    A cell reads the outputs of the two cells before it, each brought to F channels by relu, 1x1 convolution and BN (by
    a factorised reduction where it is larger; the first where it fits already is taken as it is). Every node adds or
    concatenates two paths; nodes that no other reads are concatenated. A reduction cell halves the map, with stride 2 on
    its inputs, and doubles F. All normal cells are alike but for their weights, and so are all reduction cells, so a
    search on small images finds cells, and a larger `width` and `repeats` make a network for large ones of them:

        found = architecture.network.stages[0]
        larger = Cells(normal=found.normal, reduction=found.reduction, width=44, repeats=4, stem_cells=2)

    The defaults are the cells NASNet-A.

    Args:
        normal: the cell that keeps the size.
        reduction: the cell that halves it.
        width: F of the first normal cells.
        repeats: normal cells of one size.
        reductions: how often the map is halved behind the first normal cells.
        stem_cells: reduction cells in front of them, of F / 2, F / 4, ... channels; 2 for ImageNet.
        skip_reduction: whether a normal cell behind a reduction cell reads, instead of the output before that, the one
            before that again, as in the large network of the paper.
        pyramid: whether the last output of every size is a level, for dense tasks, rather than the very last alone.
        drop_path: probability of leaving out a path of the last cell in training; lower in proportion for cells before.
            `archfront.evaluators.drop_path` lets it grow from 0 in the course of training.

    Zoph et al., 2018, Learning Transferable Architectures for Scalable Image Recognition.
    """

    kind: ClassVar[str] = Topology.kind
    paper: ClassVar[Paper] = Preactivated.paper

    width: Positive
    normal: Cell = NASNET_A_NORMAL
    reduction: Cell = NASNET_A_REDUCTION
    repeats: Positive = 1
    reductions: Positive = 2
    stem_cells: NonNegative = 0
    skip_reduction: bool = False
    pyramid: bool = False
    drop_path: Probability = 0.0
    linked = ("normal", "reduction")

    def entry(self, x: Any) -> Wiring:
        return Wiring(self.stack(image(self, x)))

    def stack(self, x: Feature) -> CellStack:
        """How the cells follow one another on an input."""
        return CellStack(
            x, self.width, self.repeats, self.reductions, self.stem_cells, self.skip_reduction, self.pyramid
        )

    def links(self, x: Feature) -> tuple[Link, ...]:
        inputs = CellInputs(
            project=Preactivated(operator=Conv(kernel=1)),
            reduce=Preactivated(operator=FactorisedReduction()),
            fit=Skip(),
        )
        return Link("normal", self.normal), Link("reduction", self.reduction), Link("inputs", inputs)

    def output(self, x: Feature) -> Pyramid:
        y = super().output(x)
        assert isinstance(y, Pyramid)
        return y

    def join(self, modules: Sequence[nn.Module]) -> nn.Module:
        normal, reduction, inputs = ([*module.children()] for module in modules)
        given, made = iter(inputs), {False: 0, True: 0}
        cells: list[nn.Module] = []
        stack = self.stack(Feature(1, (1, 1)))  # which cells stand where does not depend on the input
        for position in positions(stack):
            cell = self.reduction if position.reduction else self.normal
            nodes = reduction if position.reduction else normal
            at = made[position.reduction]
            made[position.reduction] += 1
            cells.append(
                CellModule(
                    next(given) if cell.reads_before else nn.Identity(),
                    next(given),
                    tuple([*path.children()][at] for node in nodes for path in node.children()),
                    cell.sources,
                    cell.outputs,
                    cell.concatenated,
                    self.drop_path * (len(cells) + 1) / len(positions(stack)),
                )
            )
        sources = tuple((before + 1, last + 1) for before, last in (p.sources for p in positions(stack)))
        return StackedCells(tuple(cells), sources, tuple(level + 1 for level in stack.levels))

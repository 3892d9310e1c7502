"""Parameters that read the concatenated nodes of a cell have weights for each node, wherever it stands in there."""

from __future__ import annotations

from typing import cast

import pytest
import torch
from torch.nn import functional as F

from archfront.evaluators.kernel_maps import MappedStore
from archfront.evaluators.layout import Layout, layouts_of, take
from archfront.evaluators.store import Store
from archfront.evaluators.supernet import Supernet
from archfront.space import Network, Space, one_of
from archfront.space.cell import Cell, pair, searched_cell
from archfront.space.library.head.pyramid_classifier import PyramidClassifier
from archfront.space.library.operator.pool import Pool
from archfront.space.library.operator.preactivated import Preactivated
from archfront.space.library.operator.skip import Skip
from archfront.space.library.stem.convolution import ConvStem
from archfront.space.library.topology.cells import Cells
from archfront.space.network import Part
from archfront.space.types import Feature, Image, Pyramid

WIDTHS = (4, 8)


def cells(normal: Cell, reduction: Cell) -> Space:
    """Two normal cells, a reduction cell and two more, of F = 4 or 8."""
    stack = Cells(width=one_of(*WIDTHS), normal=normal, reduction=reduction, repeats=2, reductions=1)
    network = Network(stem=ConvStem(width=8, stride=1), stages=(stack,), head=PyramidClassifier(classes=3))
    return Space(Image(3, 8, 8), network)


FREE = cells(searched_cell(3, Pool()), Cell(nodes=(pair((1, Pool()), (0, Pool())),)))
NODES = 3


def outputs(cell: Cell) -> tuple[int, ...]:
    """The nodes in the output of a cell, the first being 0."""
    return tuple(state - 2 for state in cell.outputs)


def columns(nodes: tuple[int, ...], width: int, widest: int) -> list[int]:
    return [node * widest + i for node in nodes for i in range(width)]


@pytest.mark.parametrize("kind", [Store, MappedStore])
@pytest.mark.parametrize("seed", range(6))
def test_what_reads_a_cell_takes_the_weights_of_its_nodes(seed: int, kind: type[Store]) -> None:
    supernet = Supernet(FREE, store=kind)
    architecture = FREE.sample(seed, over="sites")
    stack = cast(Cells, architecture.network.stages[0])
    nodes, parts = outputs(stack.normal), {part.path: part for part in architecture.parts}
    # cell 1 of the first section reads cell 0 there; the head reads the last cell, which has twice the width
    for path, weight, factor in (
        ("stages[0].inputs.section0.cell1.last", "operator.conv.weight", 1),
        ("head", "classifier.weight", 2),
    ):
        names = [name for name in supernet.store.views(parts[path]) if name.endswith("weight") and "norm" not in name]
        assert weight in names or len(names) == 1, names
        name = weight if weight in names else names[0]
        layout, stored = next(cut for cut in supernet.store.cuts(parts[path]) if cut[0].name == name)
        assert stored.shape[1] == NODES * factor * WIDTHS[-1]
        wanted = columns(nodes, factor * stack.width, factor * WIDTHS[-1])
        rows = layout.shape[0]
        assert torch.equal(supernet.store.views(parts[path])[name], stored[:rows, wanted])


def test_a_node_means_the_same_to_what_reads_it_in_every_wiring() -> None:
    """Where nodes 0 and 2 are concatenated, and where node 2 is alone, node 2 is projected alike."""
    store = Store(FREE)
    (path,) = {p.path for p in FREE.parts() if p.path.endswith("section0.cell1.last")}
    project = Preactivated(width=8)
    both = Part(path, project, Feature(16, (8, 8), segments=(0, 2)))
    alone = Part(path, project, Feature(8, (8, 8), segments=(2,)))
    kernel = {part: next(v for v in store.views(part).values() if v.dim() == 4) for part in (both, alone)}
    x = torch.randn(2, 16, 8, 8)
    x[:, :8] = 0  # node 0 says nothing
    assert torch.allclose(F.conv2d(x, kernel[both]), F.conv2d(x[:, 8:], kernel[alone]), atol=1e-6)


def test_nodes_that_are_never_all_concatenated_share_the_leading_weights() -> None:
    chain = Cell(nodes=(pair((1, Skip()), (0, Skip())), pair((2, Pool()), (one_of(0, 1), Pool()))))
    space = cells(chain, Cell(nodes=(pair((1, Pool()), (0, Pool())),)))
    supernet = Supernet(space)
    for seed in range(4):
        architecture = space.sample(seed, over="sites")
        part = next(p for p in architecture.parts if p.path.endswith("section0.cell1.last"))
        assert cast(Feature, part.input).segments == (1,)
        for name, view in supernet.store.views(part).items():
            layout, stored = next(cut for cut in supernet.store.cuts(part) if cut[0].name == name)
            assert torch.equal(view, stored[tuple(slice(n) for n in layout.shape)])


def test_numbered_segments_are_gathered_one_by_one() -> None:
    stored = torch.arange(2 * 12.0).reshape(2, 12)
    layout = Layout("w", "w", (2, 4), along=(1,), segments=(2, 0), unit=4)
    assert torch.equal(take(stored, layout), stored[:, [8, 9, 0, 1]])
    whole = Layout("w", "w", (2, 12), along=(1,), segments=(0, 1, 2), unit=4)
    assert take(stored, whole) is stored
    assert torch.equal(take(stored, whole._replace(segments=(2, 0, 1))), stored[:, [*range(8, 12), *range(8)]])
    beyond = Layout("w", "w", (2, 4), along=(1,), segments=(3,), unit=4)
    assert torch.equal(take(stored, beyond), stored[:, :4])


def test_segments_are_no_part_of_a_type() -> None:
    plain, made = Feature(12, (4, 4)), Feature(12, (4, 4), segments=(0, 2))
    assert plain == made
    assert hash(plain) == hash(made)
    assert plain.to_dict() == made.to_dict()
    assert Pyramid((plain,)).to_dict() == Pyramid((made,)).to_dict()
    part = Part("", Preactivated(width=8), made)
    assert {layout.along for layout in layouts_of(part)} == {(1,), ()}
    assert all(not layout.along for layout in layouts_of(part._replace(input=plain)))

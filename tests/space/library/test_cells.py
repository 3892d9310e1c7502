"""Search cells: what they compute, the space that they span, what they cost, and how they are stacked."""

from __future__ import annotations

import itertools
from typing import cast

import numpy as np
import pytest
import torch

from archfront.evaluators.supernet import Supernet
from archfront.hw_profiles.cost import cost, count, part_cost
from archfront.space.architecture import Architecture
from archfront.space.cell import Cell, CellStack, pair, positions, searched_cell
from archfront.space.domains import int_range, one_of
from archfront.space.errors import ShapeError, SpaceError
from archfront.space.library.head.cascade_classifier import CascadeClassifier
from archfront.space.library.head.pyramid_classifier import PyramidClassifier
from archfront.space.library.operator.conv import Conv
from archfront.space.library.operator.ghost import GhostConv
from archfront.space.library.operator.pool import Pool
from archfront.space.library.operator.preactivated import Preactivated
from archfront.space.library.operator.skip import Skip
from archfront.space.library.operator.stacked_separable import StackedSeparable
from archfront.space.library.stem.convolution import ConvStem
from archfront.space.library.topology.cells import NASNET_OPERATORS, CellModule, Cells, StackedCells
from archfront.space.limits import Bounds
from archfront.space.network import Network
from archfront.space.references import reference
from archfront.space.space import Space
from archfront.space.spec import Spec
from archfront.space.types import Feature, FeatureType, Image, Pyramid

from .. import brute

FEW = one_of(Skip(), StackedSeparable(kernel=one_of(3, 5)))


def network(cells: Cells, stem: int = 6) -> Network:
    """A stem, cells, and a classifier."""
    return Network(stem=ConvStem(width=stem, stride=1), stages=(cells,), head=PyramidClassifier(classes=3))


def tiny() -> Space:
    """A space small enough to list: the wiring of the normal cell and one operator of the reduction cell are open."""
    reduction = Cell(nodes=(pair((1, FEW), (0, Pool())),))
    normal = searched_cell(2, Pool(mode="max"), one_of("add", "concat"))
    cells = Cells(width=4, normal=normal, reduction=reduction, reductions=1)
    return Space(Image(3, 8, 6), network(cells))


def costs(spec: Spec, x: FeatureType) -> tuple[float, ...]:
    found = part_cost(spec, x)
    return found.macs, found.params


# ---------------------------------------------------------------------- what is computed


def test_the_cells_of_nasnet_a_are_the_sums_that_the_paper_draws() -> None:
    module = cast(StackedCells, Cells(width=4, repeats=1, reductions=1).build(Feature(5, (8, 6)))).double().eval()
    normal, reduction = (cast(CellModule, cell) for cell in module.cells[:2])
    x = torch.randn(2, 5, 8, 6, dtype=torch.float64)
    h0, h1, p = normal.before(x), normal.last(x), normal.paths
    nodes = [p[0](h1) + p[1](h0), p[2](h0) + p[3](h0), p[4](h1) + h0, p[6](h0) + p[7](h0), p[8](h1) + h1]
    y = torch.cat([h0, *nodes], 1)
    torch.testing.assert_close(normal(x, x), y)
    h0, h1, p = reduction.before(x), reduction.last(y), reduction.paths
    b0, b1, b2 = p[0](h1) + p[1](h0), p[2](h1) + p[3](h0), p[4](h1) + p[5](h0)
    b3, b4 = b1 + p[7](b0), p[8](b0) + p[9](h1)
    torch.testing.assert_close(reduction(x, y), torch.cat([b1, b2, b3, b4], 1))


def test_a_node_concatenates_where_it_does_not_add() -> None:
    cell = Cell(nodes=(pair((1, Skip()), (0, Pool()), "concat"), pair((2, StackedSeparable()), (1, Skip()))), keep=(2,))
    cells = Cells(width=4, normal=cell)
    assert cells.output(Feature(5, (8, 6))) == Pyramid((Feature(3 * 16, (2, 2)),))
    first = cast(CellModule, cast(StackedCells, cells.build(Feature(5, (8, 6)))).cells[0]).double().eval()
    x = torch.randn(2, 5, 8, 6, dtype=torch.float64)
    h0, h1 = first.before(x), first.last(x)
    h2 = torch.cat([h1, torch.nn.functional.avg_pool2d(h0, 3, 1, 1, count_include_pad=False)], 1)
    torch.testing.assert_close(first(x, x), torch.cat([h2, first.paths[2](h2) + h1], 1))


def test_every_cell_reads_the_outputs_of_the_two_before_it_and_is_read_itself() -> None:
    for stem, repeats, skip in itertools.product((0, 2), (1, 3), (False, True)):
        stack = positions(CellStack(Feature(8, (64, 64)), 16, repeats, 2, stem, skip, False))
        assert [p.sources[1] for p in stack] == list(range(-1, len(stack) - 1))
        for i, position in enumerate(stack):
            behind = i > stem and stack[i - 1].reduction
            assert position.sources[0] == max(-1, i - 3 if skip and behind else i - 2)
        names = ["S"] * stem + (["N"] * repeats + ["R"]) * 2 + ["N"] * repeats
        assert [p.reduction for p in stack] == [name != "N" for name in names]
        assert [p.node.channels for p in stack if not p.reduction] == [16] * repeats + [32] * repeats + [64] * repeats
        assert [p.node.channels for p in stack[:stem]] == [4, 8][:stem]
        assert stack[-1].node.size == ((4, 4) if stem else (16, 16))


@pytest.mark.parametrize("seed", range(6))
def test_a_sampled_cell_is_concatenated_from_the_nodes_that_none_reads(seed: int) -> None:
    cell = searched_cell(4, NASNET_OPERATORS)
    space = Space(Image(3, 12, 10), network(Cells(width=4, normal=cell, reduction=cell)))
    architecture = space.sample(seed)
    cells = cast(Cells, cast(Network, architecture.network).stages[0])
    for drawn in (cells.normal, cells.reduction):
        read = {path.source for node in drawn.nodes for path in (node.left, node.right)}
        assert drawn.outputs == tuple(i for i in range(2, 6) if i not in read)
        assert 1 in read
    module = architecture.build().train()
    scores = module(*architecture.input.example(2))
    scores.square().sum().backward()
    assert scores.shape == (2, 3)
    assert all(p.grad is not None and p.grad.isfinite().all() for p in module.parameters())


def test_a_pyramid_of_all_sizes_serves_heads_that_join_levels() -> None:
    cells = Cells(width=4, pyramid=True)
    assert cells.output(Feature(5, (13, 9))) == Pyramid(
        (Feature(24, (13, 9)), Feature(48, (7, 5)), Feature(96, (4, 3)))
    )
    head = CascadeClassifier(classes=3, features=8)
    whole = Network(stem=ConvStem(width=5, stride=1), stages=(cells,), head=head)
    assert Architecture(Image(3, 13, 9), whole).build()(torch.randn(2, 3, 13, 9)).shape == (2, 3)


def test_any_operator_of_the_library_stands_in_a_cell() -> None:
    operator = one_of(GhostConv(), Preactivated(operator=Conv(kernel=1)))
    space = Space(Image(3, 8, 8), network(Cells(width=4, normal=searched_cell(2, operator))))
    drawn = [space.sample(seed) for seed in range(8)]
    assert any(isinstance(part.spec, GhostConv) for a in drawn for part in a.parts)
    assert all(a.build()(torch.randn(2, 3, 8, 8)).shape == (2, 3) for a in drawn[:3])


# ---------------------------------------------------------------------- the space


def test_the_space_holds_what_brute_force_lists() -> None:
    space = tiny()
    expected = brute.architectures(space)
    assert space.size == len(expected) == len(set(space))
    assert set(space) == expected
    assert {(p.path, p.spec, p.input) for a in expected for p in a.parts} == {
        (p.path, p.spec, p.input) for p in space.parts()
    }


@pytest.mark.parametrize("seed", range(4))
def test_samples_mutants_and_children_are_members_that_files_keep(seed: int) -> None:
    space = tiny()
    one, two = space.sample(seed), space.sample(seed + 100)
    for architecture in (one, space.mutate(one, seed), space.crossover(one, two, seed)):
        assert architecture in space
        assert Architecture.from_dict(architecture.to_dict()) == architecture
        assert space.at(space.assignment(architecture)) == architecture
        assert len(space.encode(architecture)) == len(space.columns)
    assert Space.from_dict(space.to_dict()) == space


def test_a_choice_is_made_once_for_all_cells_of_a_kind() -> None:
    cell = searched_cell(2, one_of(Skip(), Pool()), one_of("add", "concat"))
    space = Space(Image(3, 8, 6), network(Cells(width=4, normal=cell, reduction=cell, repeats=int_range(1, 3))))
    sites = [site for site in space.sites if "normal" in site]
    assert len(sites) == 2 * (2 * 2 + 1)  # two nodes: source and operator of each side, and how they are joined
    for seed in range(10):
        by_path: dict[str, set[type]] = {}
        for part in space.sample(seed).parts:
            if ".nodes[" in part.path:
                by_path.setdefault(part.path.split(".section")[0], set()).add(type(part.spec))
        assert all(len(kinds) == 1 for kinds in by_path.values())


def test_sources_have_no_order_so_that_no_wiring_counts_as_the_largest() -> None:
    assert not any(site.domain.ordered for path, site in tiny().sites.items() if path.endswith("source"))


def test_reach_and_budgets_are_exact() -> None:
    space = tiny()
    everything = [cost(a) for a in space]
    table = np.array([(c.macs, c.params) for c in everything], float)
    low, high = space.graph.root.extremes(costs, 2)
    assert (low == table.min(axis=0)).all()
    assert (high == table.max(axis=0)).all()
    limit = float(np.quantile(table[:, 0], 0.05))
    bounds = Bounds(costs, np.full(2, -np.inf), np.array([limit, np.inf]))
    drawn = {space.sample(seed, bounds=bounds) for seed in range(40)}
    assert all(cost(a).macs <= limit for a in drawn)
    assert len(drawn) > 5


def test_the_whole_nasnet_space_is_counted_and_sampled_within_a_budget() -> None:
    cell = searched_cell(3, NASNET_OPERATORS)
    space = Space(Image(3, 8, 8), network(Cells(width=2, normal=cell, reduction=cell)))
    counted = 1
    for states in (2, 3, 4):
        counted *= (states * 13) ** 2
    blind = ((1 * 13) * (2 * 13) * (3 * 13)) ** 2
    assert space.size == (counted - blind) ** 2
    low, high = space.graph.root.extremes(costs, 2)
    limit = float(low[0] + 0.02 * (high[0] - low[0]))
    assert cost(space.sample(0, bounds=Bounds(costs, low, np.array([limit, np.inf])))).macs <= limit


@pytest.mark.parametrize("seed", range(3))
def test_the_cost_of_the_parts_is_that_of_the_network(seed: int) -> None:
    cell = searched_cell(3, NASNET_OPERATORS)
    space = Space(Image(3, 9, 7), network(Cells(width=4, normal=cell, reduction=cell, stem_cells=1)))
    architecture = space.sample(seed)
    total, whole = cost(architecture), count(architecture.build(), architecture.input)
    assert (total.macs, total.params, total.activations) == (whole.macs, whole.params, whole.activations)


def test_a_candidate_is_a_view_of_the_supernet_and_trains_only_its_own_weights() -> None:
    space = tiny()
    supernet = Supernet(space)
    calibration = [torch.randn(8, 3, 8, 6)]
    x = torch.randn(2, 3, 8, 6)
    for seed in range(4):
        architecture = space.sample(seed)
        alone = supernet.extract(architecture, calibration).eval()
        candidate = supernet.candidate(architecture).calibrate(calibration)
        with torch.no_grad():
            torch.testing.assert_close(candidate(x), alone(x), rtol=0, atol=1e-6)
    candidate.train()(x).square().sum().backward()
    used = {id(stored) for _, stored, _ in candidate.cuts}
    assert all((p.grad is None) == (id(p) not in used) for p in supernet.store.parameters.values())


# ---------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("cell", "problem"),
    [
        (Cell(nodes=(pair((1, Skip()), (2, Skip())),)), r"nodes\[0\].right: there is no state 2 yet; use 0 to 1"),
        (Cell(nodes=(pair((0, Skip()), (0, Skip())),)), "reads nothing of the cell before it"),
        (Cell(nodes=(pair((1, Skip()), (0, Skip())),), keep=(7,)), "has states 0 to 2"),
        (Cell(nodes=(pair((1, Preactivated(operator=Conv(groups=3))), (0, Skip())),)), "3 groups must divide"),
    ],
)
def test_a_cell_that_cannot_be_built_is_refused_with_the_reason(cell: Cell, problem: str) -> None:
    with pytest.raises(ShapeError, match=problem):
        Architecture(Image(3, 8, 8), network(Cells(width=4, normal=cell)))


def test_a_reduction_cell_cannot_hand_on_its_inputs() -> None:
    cell = Cell(nodes=(pair((1, Skip()), (0, Skip())),), keep=(0,))
    with pytest.raises(ShapeError, match="larger than its output"):
        Cells(width=4, reduction=cell).output(Feature(5, (8, 8)))


def test_a_cell_stands_in_a_stack_only() -> None:
    with pytest.raises(ShapeError, match="not behind 5x8x8"):
        Cell(nodes=(pair((1, Skip()), (0, Skip())),)).output(Feature(5, (8, 8)))


def test_a_space_whose_cells_never_read_the_cell_before_them_is_empty() -> None:
    cell = Cell(nodes=(pair((0, Skip()), (0, Skip())),))
    with pytest.raises(SpaceError, match="reads nothing of the cell before it"):
        Space(Image(3, 8, 8), network(Cells(width=one_of(4, 6), normal=cell)))


# ---------------------------------------------------------------------- transfer


def test_cells_found_on_small_images_make_a_larger_network_for_large_ones() -> None:
    found = cast(Cells, cast(Network, reference("NASNet-A (6 @ 768)").architecture().network).stages[0])
    mobile = reference("NASNet-A (4 @ 1056)")
    network = cast(Network, mobile.architecture().network)
    larger = Cells(normal=found.normal, reduction=found.reduction, width=44, repeats=4, stem_cells=2)
    moved = Architecture(Image(3, 224, 224), Network(stem=network.stem, stages=(larger,), head=network.head))
    with torch.device("meta"):
        assert sum(p.numel() for p in moved.build().parameters()) == 5_289_978 == mobile.params


def test_a_searched_cell_keeps_its_operators_when_it_is_stacked_anew() -> None:
    cell = searched_cell(3, NASNET_OPERATORS)
    space = Space(Image(3, 16, 16), network(Cells(width=4, normal=cell, reduction=cell)))
    found = cast(Cells, cast(Network, space.sample(3).network).stages[0])
    larger = Cells(normal=found.normal, reduction=found.reduction, width=8, repeats=3, stem_cells=2)
    moved = Architecture(Image(3, 64, 64), network(larger))

    normal = [p for p in moved.parts if ".normal.nodes[0].left" in p.path]
    assert len(normal) == 3 * 3
    assert {type(p.spec) for p in normal} == {type(found.normal.nodes[0].left.operator)}
    assert len([p for p in moved.parts if ".reduction.nodes[0].left" in p.path]) == 2 + 2

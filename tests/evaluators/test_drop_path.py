"""Scheduled dropping of paths: its probabilities, and that it reaches every block that drops paths."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from typing import cast

import pytest
import torch
from torch import Tensor, nn

from archfront.evaluators.drop_path import ScheduledDropPath
from archfront.space.architecture import Architecture
from archfront.space.cell import Cell, pair
from archfront.space.library.block.metaformer import MetaFormer
from archfront.space.library.layers import DropPath
from archfront.space.library.mixer.average_pool import AveragePool
from archfront.space.library.operator.pool import Pool
from archfront.space.library.operator.skip import Skip
from archfront.space.library.topology.cells import CellModule, Cells, StackedCells
from archfront.space.spec import Block, registry
from archfront.space.types import Feature

from .. import contract

X = Feature(8, (8, 8))
STEPS = 11


def dropping_blocks() -> list[type[Block]]:
    """The blocks of the library whose field `drop_path` says that they drop paths."""
    blocks = (cls for cls in registry.of_kind(Block) if cls.__module__.startswith("archfront.space.library."))
    return [cls for cls in blocks if issubclass(cls, Block) and "drop_path" in {f.name for f in fields(cls)}]


def probabilities(network: nn.Module, steps: Iterable[int], rate: float | None = None) -> list[list[float]]:
    """The probability of each path at some steps of a training of `STEPS` steps."""
    scheduled = ScheduledDropPath(lambda x, y, step: 0.0, network, STEPS, rate)
    found = []
    for step in steps:
        scheduled(torch.zeros(1), torch.zeros(1), step)
        found.append([path.rate for path in scheduled.paths])
    return found


@pytest.mark.parametrize("rate", [None, 0.4])
def test_the_probability_rises_linearly_in_time_and_along_the_cells(rate: float | None) -> None:
    cells = Cells(width=4, repeats=2, drop_path=0.4 if rate is None else 0.0).build(X)
    count = 3 * 2 + 2
    found = probabilities(cells, range(STEPS), rate)
    for step in range(STEPS):
        expected = [0.4 * step / (STEPS - 1) * (cell + 1) / count for cell in range(count)]
        assert found[step] == pytest.approx(expected)
    assert found[0] == [0.0] * count
    assert found[-1][-1] == 0.4


@pytest.mark.parametrize("cls", dropping_blocks(), ids=[cls.__name__ for cls in dropping_blocks()])
def test_every_block_of_the_library_that_drops_paths_follows_the_schedule(cls: type[Block]) -> None:
    with torch.device("meta"):
        network = Architecture(contract.INPUT, contract.network(contract.plain(cls))).build()
    first, last = probabilities(network, (0, STEPS - 1), 0.5)
    assert set(first) == {0.0}
    assert last == sorted(last)
    assert last[-1] == 0.5
    block = contract.plain(cls).replaced({"drop_path": 0.5})
    with torch.device("meta"):
        network = Architecture(contract.INPUT, contract.network(block)).build()
    first, last = probabilities(network, (0, STEPS - 1))
    assert set(first) == {0.0}
    assert max(last) == 0.5


def test_nothing_is_dropped_at_the_first_step_and_whole_images_at_the_last() -> None:
    torch.manual_seed(0)
    module = MetaFormer(mixer=AveragePool(), drop_path=0.5, layer_scale=None).build(X).train()
    x = torch.randn(1, 8, 8, 8).expand(400, -1, -1, -1)
    seen: list[Tensor] = []

    def step_loss(x: Tensor, y: Tensor, step: int) -> float:
        with torch.no_grad():
            seen.append(module(x))
        return 0.0

    scheduled = ScheduledDropPath(step_loss, module, STEPS)
    for step in (0, STEPS - 1):
        scheduled(x, torch.zeros(400), step)
    first, last = seen
    torch.testing.assert_close(first, first[:1].expand_as(first))
    kept = (last - x).flatten(1).abs().sum(1) > 1e-4
    assert 0.68 < float(kept.float().mean()) < 0.82  # both of two branches are dropped in a quarter of the images
    assert len(last.flatten(1).unique(dim=0)) == 4


def test_skip_connections_of_cells_are_never_dropped() -> None:
    cell = Cell(nodes=(pair((1, Skip()), (0, Pool())),))
    module = cast(StackedCells, Cells(width=8, normal=cell, reduction=cell, drop_path=0.999999).build(X)).train()
    last = cast(CellModule, module.cells[-1])
    before, given = torch.randn(4, 16, 4, 4), torch.randn(4, 32, 2, 2)
    last.drop_path.rate = 0.0
    everything = last(before, given)
    last.drop_path.rate = 0.999999
    torch.testing.assert_close(last(before, given), last.last(given))
    assert not torch.allclose(everything, last.last(given))


def test_in_evaluation_every_path_is_taken() -> None:
    module = DropPath(0.9).eval()
    x = torch.randn(8, 2, 2, 2)
    assert torch.equal(module(x), x)


def test_a_resumed_training_goes_on_with_the_probability_of_its_step() -> None:
    whole, resumed = (probabilities(Cells(width=4, drop_path=0.2).build(X), steps) for steps in (range(6), (5,)))
    assert whole[-1] == resumed[-1]

"""A block that the runtime cannot run is left out of a latency table, by name, and nothing else suffers for it."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from archfront.hw_profiles.profile import LatencyError, local_profile
from archfront.hw_profiles.protocol import Schedule, measure
from archfront.hw_profiles.table import LatencyTable
from archfront.hw_profiles.table_file import Block as Measured
from archfront.space.architecture import Architecture
from archfront.space.domains import one_of
from archfront.space.library.block.mbconv import MBConv
from archfront.space.library.head.classifier import Classifier
from archfront.space.library.operator.conv import Conv
from archfront.space.library.stem.convolution import ConvStem
from archfront.space.limits import Bounds
from archfront.space.network import Network, Stage
from archfront.space.space import Space
from archfront.space.spec import Block
from archfront.space.types import Feature, Image

PROFILE = local_profile()


class _NoNumbers(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.log(-x.abs() - 1)


class NoNumbersForTables(Block):
    """Its output is not a number, so no runtime can be shown to compute the same."""

    def build(self, x: Feature) -> nn.Module:
        return _NoNumbers()


GOOD, BAD = MBConv(kernel=3, expand=2), NoNumbersForTables()
SPACE = Space(
    input=Image(3, 8, 8),
    network=Network(
        stem=ConvStem(width=8),
        stages=(Stage(width=8, depth=2, block=one_of(GOOD, BAD)),),
        head=Classifier(classes=4),
    ),
)


def holds_bad(architecture: Architecture) -> bool:
    return any(isinstance(part.spec, NoNumbersForTables) for part in architecture.parts)


SAMPLES = [SPACE.sample(seed) for seed in range(20)]
WITH = next(a for a in SAMPLES if holds_bad(a))
WITHOUT = next(a for a in SAMPLES if not holds_bad(a))
SHOWN = "NoNumbersForTables() on 8x4x4"  # the stem halves the image


@pytest.fixture(scope="module")
def table() -> LatencyTable:
    table = LatencyTable(PROFILE)
    table.fill(SPACE.parts(), max_seconds=10)
    return table


def test_the_other_blocks_are_measured_and_the_failing_one_is_reported_by_name() -> None:
    table = LatencyTable(PROFILE)
    parts = {(part.spec, part.input) for part in SPACE.parts()}
    filled = table.fill(SPACE.parts(), max_seconds=10)
    assert list(filled.failures) == [SHOWN]
    assert "differs from torch's" in filled.failures[SHOWN] and SHOWN not in filled.failures[SHOWN]
    assert (filled.measured, filled.known, filled.interpolated) == (len(parts) - 1, 0, 0)
    assert set(table.blocks) == parts - set(table.failures)
    again = table.fill(SPACE.parts(), max_seconds=10)  # is not tried again
    assert (again.measured, again.known, again.interpolated) == (0, len(parts) - 1, 0)
    assert again.failures == filled.failures


def test_networks_that_hold_it_are_refused_and_the_others_predicted(table: LatencyTable) -> None:
    with pytest.raises(LatencyError, match=r"onnxruntime cannot run NoNumbersForTables\(\) on 8x4x4 \(the runtime's"):
        table.predict(WITH)
    assert 0 < table.predict(WITHOUT).value < 1000
    table.expect(SPACE.parts())


def test_no_budget_has_room_for_it(table: LatencyTable) -> None:
    spec, x = next(iter(table.failures))
    assert table.part_ms(spec, x) == math.inf
    bounds = Bounds(lambda spec, x: (table.part_ms(spec, x),), np.array([-np.inf]), np.array([1000.0]))
    assert any(map(holds_bad, SAMPLES))
    assert not any(holds_bad(SPACE.sample(seed, bounds=bounds)) for seed in range(20))


def test_calibration_passes_over_networks_that_hold_it() -> None:
    table = LatencyTable(PROFILE)
    spec = MBConv(kernel=3, expand=2)
    pool = [
        Architecture(Image(3, 8, 8), Network(stem=ConvStem(width=8), stages=(stage,), head=Classifier(classes=4)))
        for depth in (1, 2, 3, 4)
        for stage in (Stage(width=8, depth=depth, block=spec), Stage(width=8, depth=depth, block=BAD))
    ]
    for architecture in pool:
        for part in architecture.parts:
            if isinstance(part.spec, NoNumbersForTables):
                table.failures[part.spec, part.input] = "no"
            else:
                table.blocks[part.spec, part.input] = Measured(0.01, 0.01, 0.005)
    quick = Schedule(processes=1, rounds=3, target=10.0, warm_ms=1.0, max_seconds=10)
    assert table.calibrate(pool, count=4, schedule=quick).left_out.networks == 4
    assert not any(holds_bad(net.architecture) for net in table.nets)
    with pytest.raises(LatencyError, match="at least 4 different architectures, got 3"):
        table.calibrate([a for a in pool if a is not pool[0]])


def test_failures_are_kept_in_the_file(table: LatencyTable, tmp_path: Path) -> None:
    table.save(tmp_path / "t.json")
    again = LatencyTable.load(tmp_path / "t.json", PROFILE)
    assert again.failures == table.failures and again.blocks == table.blocks


def test_measuring_reports_candidates_that_fail_where_it_is_asked_to_and_fails_otherwise() -> None:
    quick = Schedule(processes=1, rounds=3, target=10.0, warm_ms=1.0, max_seconds=10)
    x, failed = Feature(8, (8, 8)), dict[str, str]()
    candidates = {"bad": (BAD, x), "good": (Conv(width=4), x)}
    found = measure(candidates, PROFILE, quick, failed=lambda name, error: failed.update({name: str(error)}))
    assert list(found) == ["good"] and list(failed) == ["bad"]
    assert measure({"bad": (BAD, x)}, PROFILE, quick, failed=lambda *_: None) == {}
    with pytest.raises(LatencyError, match="bad: the runtime's output differs"):
        measure(candidates, PROFILE, quick)

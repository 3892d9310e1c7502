"""Blocks at their standard input: counted at once, timed when asked for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from archfront import catalogue, standard
from archfront.cli import app
from archfront.hw_profiles.cost import count
from archfront.space import registry

GATES = ["blocks", "list", "--kind", "gate"]


@pytest.fixture(autouse=True)
def own_devices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARCHFRONT_DEVICES", str(tmp_path / "devices"))


def listed(*more: str) -> dict[str, dict[str, object]]:
    result = CliRunner().invoke(app, [*GATES, "--json", *more])
    assert result.exit_code == 0, result.output
    found = {entry["name"]: entry["standard"] for entry in json.loads(result.stdout)}
    return {name: costs for name, costs in found.items() if costs}  # other tests define blocks too


def test_list_says_what_a_block_costs_at_the_standard_input() -> None:
    squeeze = listed()["SqueezeExcite"]
    inner = 128 // 4
    assert squeeze["params"] == 128 * inner + inner + inner * 128 + 128
    assert squeeze["latency_ms"] is None


def test_latencies_are_measured_when_asked_for_and_shown_from_then_on() -> None:
    measured = {name: found["latency_ms"] for name, found in listed("--latency", "--quiet").items()}
    assert all(isinstance(ms, float) and ms > 0 for ms in measured.values())
    assert {name: found["latency_ms"] for name, found in listed().items()} == measured


@pytest.mark.parametrize("name", ["MBConv", "ConvStem", "PixelShuffle", "Classifier", "SelfAttention"])
def test_standard_cost_is_that_of_the_module(name: str) -> None:
    spec, x = standard.standard(registry[name])
    found = standard.standard_cost(registry[name])
    assert found is not None and found.params == sum(p.numel() for p in spec.build(x).parameters())
    assert found == count(spec.build(x), x)


def test_almost_every_block_has_a_standard_cost() -> None:
    """Those that take several maps have none."""
    own = [cls for cls in catalogue.blocks() if cls.__module__.startswith("archfront.space.library.")]
    without = {cls.__name__ for cls in own if standard.standard_cost(cls) is None}
    assert without == {
        "CascadeClassifier", "IterativeAggregation", "PyramidClassifier", "StreamFusion", "StreamModule",
    }  # fmt: skip

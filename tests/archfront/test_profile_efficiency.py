"""archfront profile --efficiency, --energy and --accelerator, as a person calls them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from archfront.cli import app
from archfront.hw_profiles.cost import cost
from archfront.space.architecture import Architecture
from archfront.space.library.block.mbconv import MBConv
from archfront.space.library.block.plain import PlainConv
from archfront.space.library.head.classifier import Classifier
from archfront.space.library.stem.convolution import ConvStem
from archfront.space.network import Network, Stage
from archfront.space.spec import StridedBlock
from archfront.space.types import Image


def saved(folder: Path, block: StridedBlock) -> Path:
    stage = Stage(width=12, depth=1, stride=2, block=block)
    network = Network(stem=ConvStem(width=8, activation="relu"), stages=(stage,), head=Classifier(classes=10))
    file = folder / "small.json"
    Architecture(input=Image(3, 32, 32), network=network).save(file)
    return file


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["profile", *(str(argument) for argument in arguments)])


def test_efficiency_prints_terms_that_sum_to_the_latency_and_writes_a_page(tmp_path: Path) -> None:
    file, html = saved(tmp_path, MBConv(expand=2)), tmp_path / "page.html"
    result = run("--architecture", file, "--seconds", 1, "--efficiency", "--html", html, "--quiet", "--json")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    efficiency, latency = found["efficiency"], found["metrics"]["latency_ms"]["value"]
    for terms in efficiency["terms_ms"].values():
        assert sum(terms.values()) == pytest.approx(latency, rel=1e-9)
    assert efficiency["macs"] == cost(Architecture.load(file)).contractions
    assert "plotly" in html.read_text()


def test_what_counts_a_multiply_add_as_two_and_what_as_one_is_said(tmp_path: Path) -> None:
    result = run("--architecture", saved(tmp_path, MBConv(expand=2)), "--seconds", 1, "--efficiency")
    assert "FLOPs (multiply-adds)" in result.stdout and "MFLOP" in result.stdout
    assert "MFLOP and FLOP/byte count a multiply-add as two operations" in result.stdout
    assert "timing 1 models" not in result.stderr


def test_a_file_that_is_no_architecture_is_named_with_the_format_that_it_was_read_as(tmp_path: Path) -> None:
    (tmp_path / "small.toml").write_text('space = "micro"\n')
    result = run("--architecture", tmp_path / "small.toml")
    assert result.exit_code == 2
    assert "small.toml is not readable as JSON" in result.stderr


def test_efficiency_needs_a_latency(tmp_path: Path) -> None:
    result = run("--architecture", saved(tmp_path, MBConv()), "--no-latency", "--efficiency")
    assert result.exit_code == 2
    assert "--no-latency" in result.stderr


def test_a_device_without_a_profiler_is_refused_before_anything_is_measured(tmp_path: Path) -> None:
    result = run("--architecture", tmp_path / "missing.json", "--device", "local-cpu-torch", "--efficiency")
    assert result.exit_code == 2
    assert "profiler of ONNX Runtime" in result.stderr


def test_accelerator_designs_are_modelled_and_fit(tmp_path: Path) -> None:
    file = saved(tmp_path, PlainConv())
    found = json.loads(run("--architecture", file, "--no-latency", "--accelerator", "ultra96", "--json").stdout)
    assert found["accelerator"]
    assert {design["provenance"] for design in found["accelerator"]} == {"modelled"}
    assert all(design["fits"] and design["config"]["device"] == "ultra96" for design in found["accelerator"])
    assert "modelled, not measured" in run("--architecture", file, "--no-latency", "--accelerator", "all").stdout


@pytest.mark.parametrize(
    ("block", "board", "words"),
    [(MBConv(activation="relu"), "ultra96", "grouped convolutions"), (PlainConv(), "ultra95", "did you mean")],
)
def test_what_an_accelerator_cannot_run_is_told(tmp_path: Path, block: StridedBlock, board: str, words: str) -> None:
    result = run("--architecture", saved(tmp_path, block), "--no-latency", "--accelerator", board)
    assert result.exit_code == 2
    assert words in result.stderr


def test_energy_that_nobody_counts_is_not_available(tmp_path: Path) -> None:
    if Path("/sys/class/powercap").exists():
        pytest.skip("this machine has energy counters")
    result = run("--architecture", saved(tmp_path, MBConv()), "--no-latency", "--energy")
    assert "not available" in result.stdout and "no powercap" in result.stdout

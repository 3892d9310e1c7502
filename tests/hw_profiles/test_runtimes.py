"""Runtimes: what they convert computes what torch computes, or nothing is timed."""

import logging
import math
import warnings
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from archfront.hw_profiles.profile import LatencyError, profile
from archfront.hw_profiles.runtimes import (
    PROBES,
    RUNTIMES,
    Overhead,
    Probe,
    Reference,
    Workload,
    example_module,
    spec_classes,
    verify,
)
from archfront.hw_profiles.worker import LOADERS
from archfront.space.library.block.mbconv import MBConv
from archfront.space.library.gate.squeeze_excite import SqueezeExcite
from archfront.space.spec import Block, registry
from archfront.space.types import Feature

X = Feature(8, (8, 8))


class _Spectrum(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.fft.irfft2(torch.fft.rfft2(x)) + x


class SpectrumForRuntimes(Block):
    """A Fourier transform, which the TorchScript exporter does not know."""

    def build(self, x: Feature) -> nn.Module:
        return _Spectrum()


class _TwoFaced(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + 1.0 if torch.onnx.is_in_onnx_export() else x


class TwoFacedForRuntimes(Block):
    """A block that computes something else once it is exported."""

    def build(self, x: Feature) -> nn.Module:
        return _TwoFaced()


class _NotANumber(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * math.nan


class NanForRuntimes(Block):
    """A block that yields NaN."""

    def build(self, x: Feature) -> nn.Module:
        return _NotANumber()


class _Gated(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.zeros(8, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.scale * x.relu()


class ZeroScaleForRuntimes(Block):
    """A residual branch that starts at scale 0."""

    def build(self, x: Feature) -> nn.Module:
        return _Gated()


def prepared(workload: Workload, folder: Path, device: str = "local-cpu"):  # type: ignore[no-untyped-def]
    here = profile(device)
    return RUNTIMES[here.runtime].prepare("the block", workload, here, folder)


@pytest.mark.parametrize("device", ["local-cpu", "local-cpu-torch"])
@pytest.mark.parametrize("spec", [MBConv(kernel=5, expand=3, gate=SqueezeExcite()), SpectrumForRuntimes()])
def test_a_prepared_model_loads_and_runs_in_the_worker(spec: Block, device: str, tmp_path: Path) -> None:
    model = prepared((spec, X), tmp_path, device)
    assert model.difference <= 1e-4
    run = LOADERS[model.model["kind"]](model.model, 1)
    result = run()
    shape = tuple(result.shape) if isinstance(result, Tensor) else result[0].shape  # type: ignore[index]
    assert shape == (1, 8, 8, 8)


def test_the_converter_is_recorded_and_dynamo_steps_in_for_what_torchscript_does_not_know(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert prepared((MBConv(), X), tmp_path).converter == "torchscript"
        assert prepared((SpectrumForRuntimes(), X), tmp_path).converter == "dynamo"
    assert prepared((MBConv(), X), tmp_path, "local-cpu-torch").converter == "none"
    printed = capfd.readouterr()
    assert printed.out + printed.err == ""
    assert logging.getLogger("torch.onnx").level == logging.NOTSET


def test_a_model_that_computes_something_else_is_refused_with_the_difference(tmp_path: Path) -> None:
    largest = float(example_module((TwoFacedForRuntimes(), X))[1][0].abs().max())
    expected = rf"the block: .* differs from torch's by {1 / max(1, largest):.2g}"
    with pytest.raises(LatencyError, match=expected):
        prepared((TwoFacedForRuntimes(), X), tmp_path)


@pytest.mark.parametrize("device", ["local-cpu", "local-cpu-torch"])
def test_not_a_number_is_never_timed(device: str, tmp_path: Path) -> None:
    with pytest.raises(LatencyError, match="differs from torch's by nan"):
        prepared((NanForRuntimes(), X), tmp_path, device)


def test_verifying_is_relative_to_the_largest_output_and_checks_shapes() -> None:
    big = torch.tensor([1000.0, 0.0])
    assert verify("n", [big + 0.09], [big]) == pytest.approx(9e-5, rel=1e-2)
    with pytest.raises(LatencyError, match=r"0.00011"):
        verify("n", [big + 0.11], [big])
    with pytest.raises(LatencyError, match=r"yields \[\(1, 2\)\], torch \[\(2,\)\]"):
        verify("n", [big[None]], [big])


def test_example_modules_repeat_leave_the_generator_alone_and_open_branches_that_start_closed() -> None:
    before = torch.random.get_rng_state()
    (one, x), (two, y) = example_module((MBConv(), X)), example_module((MBConv(), X))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(x[0], y[0]) and torch.equal(one(*x), two(*y)) and not one.training
    module, inputs = example_module((ZeroScaleForRuntimes(), X))
    assert not torch.equal(module(*inputs), inputs[0])


def test_spec_classes_finds_specs_inside_specs() -> None:
    assert spec_classes(MBConv(gate=SqueezeExcite())) == {MBConv, SqueezeExcite}


def test_interactive_blocks_cannot_be_measured_in_eager(tmp_path: Path) -> None:
    space: dict[str, object] = {"Block": Block, "nn": nn, "__name__": "an_interactive_session"}
    exec("class InteractiveForRuntimes(Block):\n    def build(self, x):\n        return nn.ReLU()", space)
    try:
        with pytest.raises(LatencyError, match=r"defined interactively.*put it into a file"):
            prepared((space["InteractiveForRuntimes"](), X), tmp_path, "local-cpu-torch")  # type: ignore[operator]
    finally:
        del registry["InteractiveForRuntimes"]


@pytest.mark.parametrize("probe", [Reference(), Overhead()])
@pytest.mark.parametrize("device", ["local-cpu", "local-cpu-torch"])
def test_probes_work_on_every_runtime_and_are_no_blocks(probe: Probe, device: str, tmp_path: Path) -> None:
    assert type(probe).__name__ in PROBES and type(probe).__name__ not in registry
    model = prepared((probe, Probe.INPUT), tmp_path, device)
    LOADERS[model.model["kind"]](model.model, 1)()

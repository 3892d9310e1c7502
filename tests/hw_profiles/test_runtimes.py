"""Runtimes: what they convert computes what torch computes, or nothing is timed."""

import importlib.util
import logging
import math
import warnings
from pathlib import Path
from typing import Any, get_args

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from archfront.hw_profiles import worker
from archfront.hw_profiles.profile import ENGINES, LatencyError, Profile, RuntimeName, local_profile, profile
from archfront.hw_profiles.protocol import Schedule, measure
from archfront.hw_profiles.runtimes import (
    PROBES,
    RUNTIMES,
    Overhead,
    Probe,
    Reference,
    Source,
    Workload,
    example_module,
    export_onnx,
    quantise,
    spec_classes,
    verify,
)
from archfront.hw_profiles.runtimes.base import signal_to_noise
from archfront.hw_profiles.runtimes.onnx_runtime import OnnxRuntime
from archfront.hw_profiles.worker import LOADERS
from archfront.space.library.block.mbconv import MBConv
from archfront.space.library.block.metaformer import MetaFormer
from archfront.space.library.gate.squeeze_excite import SqueezeExcite
from archfront.space.library.mixer.window_attention import WindowAttention
from archfront.space.library.topology.stream_module import StreamModule
from archfront.space.spec import Block, registry
from archfront.space.types import Feature, Pyramid

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


BLOCK = MBConv(kernel=5, expand=3, gate=SqueezeExcite())

SLOW = ("torch-compile", "aotinductor")
"""Runtimes that need a C++ compiler for every network."""


def installed(runtime: str) -> bool:
    needs = RUNTIMES[runtime].needs
    return bool(worker.installed(ENGINES[runtime].package)) and all(map(importlib.util.find_spec, needs))  # type: ignore[index]


def each(*runtimes: str) -> list[Any]:
    """Parameters of a test: runtimes that are not installed are skipped, those that compile take minutes."""
    return [
        pytest.param(
            name,
            marks=[
                pytest.mark.skipif(not installed(name), reason=f"{name} is not installed"),
                *([pytest.mark.slow] if name in SLOW else []),
            ],
        )
        for name in runtimes
    ]


def prepared(workload: Workload, folder: Path, device: str = "local-cpu"):  # type: ignore[no-untyped-def]
    here = profile(device)
    return RUNTIMES[here.runtime].prepare("the block", workload, here, folder)


def test_every_runtime_that_a_profile_can_name_is_there() -> None:
    assert tuple(RUNTIMES) == get_args(RuntimeName)


@pytest.mark.parametrize("runtime", each(*RUNTIMES))
def test_a_prepared_model_loads_and_runs_in_the_worker_with_batch_and_threads(runtime: str, tmp_path: Path) -> None:
    here = local_profile(runtime, threads=2, batch=3)  # type: ignore[arg-type]
    model = RUNTIMES[runtime].prepare("the block", (BLOCK, X), here, tmp_path)
    assert 0 <= model.difference <= 1e-4
    before = torch.get_num_threads()
    try:
        (result,) = worker.flat(LOADERS[model.model["kind"]](model.model, 2)())
    finally:
        torch.set_num_threads(before)
    assert tuple(result.shape) == (3, 8, 8, 8)


@pytest.mark.parametrize("device", ["local-cpu", "local-cpu-torch"])
def test_what_only_the_dynamo_exporter_knows_runs_as_well(device: str, tmp_path: Path) -> None:
    model = prepared((SpectrumForRuntimes(), X), tmp_path, device)
    (result,) = worker.flat(LOADERS[model.model["kind"]](model.model, 1)())
    assert tuple(result.shape) == (1, 8, 8, 8)


@pytest.mark.parametrize("runtime", each("onnxruntime", "torch", "openvino", "executorch", "litert"))
def test_several_inputs_and_outputs_keep_their_order(runtime: str, tmp_path: Path) -> None:
    streams = Pyramid((Feature(4, (16, 12)), Feature(8, (8, 6)), Feature(6, (4, 3))))
    workload = (StreamModule(depth=1), streams)
    model = RUNTIMES[runtime].prepare("streams", workload, local_profile(runtime), tmp_path)  # type: ignore[arg-type]
    found = [tuple(t.shape) for t in worker.flat(LOADERS[model.model["kind"]](model.model, 1)())]
    assert found == [(1, *shape) for shape in streams.shapes]


@pytest.mark.parametrize("runtime", each("onnxruntime", "torch", "openvino", "executorch", "litert"))
def test_attention_in_windows_whose_tensors_have_eight_dimensions_runs(runtime: str, tmp_path: Path) -> None:
    workload = (MetaFormer(mixer=WindowAttention(window=4)), Feature(16, (8, 8)))
    here = local_profile(runtime)  # type: ignore[arg-type]
    assert RUNTIMES[runtime].prepare("windows", workload, here, tmp_path).difference <= 1e-4


@pytest.mark.parametrize("runtime", each("onnxruntime", "openvino", "executorch", "litert"))
def test_the_whole_protocol_runs_on_the_runtime(runtime: str) -> None:
    schedule = Schedule(max_seconds=2, processes=1, rounds=3, visit_ms=0.1, warm_ms=1, target=0.5)
    result = measure({"block": (BLOCK, X)}, local_profile(runtime), schedule)["block"]  # type: ignore[arg-type]
    assert result.value_ms > 0 and result.count >= 3


# --------------------------------------------------------------------------- precision


@pytest.mark.parametrize(
    ("runtime", "precision", "most"),
    [
        pytest.param(*param.values, precision, most, marks=param.marks)
        for precision, most, names in (
            ("fp16", 1e-2, ("onnxruntime", "torch", "openvino", "executorch")),
            ("bf16", 5e-2, ("torch", "openvino", "aotinductor")),
            ("int8", 1e-1, ("onnxruntime", "openvino")),
        )
        for param in each(*names)
    ],
)
def test_short_formats_compute_nearly_the_same_but_not_exactly(
    runtime: str, precision: str, most: float, tmp_path: Path
) -> None:
    here = local_profile(runtime, precision=precision)  # type: ignore[arg-type]
    if runtime == "openvino" and not openvino_has(precision):
        pytest.skip(f"this processor has no {precision} in OpenVINO")
    model = RUNTIMES[runtime].prepare("the block", (BLOCK, X), here, tmp_path)
    assert 1e-6 < model.difference <= most
    LOADERS[model.model["kind"]](model.model, 1)()


def openvino_has(precision: str) -> bool:
    import openvino

    return precision.upper() in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def test_a_precision_that_a_runtime_lacks_is_refused_with_those_it_has(tmp_path: Path) -> None:
    with pytest.raises(LatencyError, match="onnxruntime has no bf16; it has fp32, fp16, int8"):
        OnnxRuntime().prepare("the block", (BLOCK, X), local_profile(precision="bf16"), tmp_path)


def test_an_fp16_file_holds_fp16_weights_and_takes_fp16(tmp_path: Path) -> None:
    model = OnnxRuntime().prepare("the block", (BLOCK, X), local_profile(precision="fp16"), tmp_path).model
    graph = onnx.load(model["file"]).graph
    weights = {i.data_type for i in graph.initializer if len(i.dims) == 4}
    assert weights == {onnx.TensorProto.FLOAT16} == {graph.input[0].type.tensor_type.elem_type}


def test_an_int8_file_holds_int8_weights_with_a_scale_a_channel(tmp_path: Path) -> None:
    found = OnnxRuntime().prepare("the block", (BLOCK, X), local_profile(precision="int8"), tmp_path)
    assert found.converter == "torchscript, static int8 (random calibration)"
    graph = onnx.load(found.model["file"]).graph
    kernels = {i.name: i for i in graph.initializer if len(i.dims) == 4}
    assert {i.data_type for i in kernels.values()} == {onnx.TensorProto.INT8}
    scales = {i.name: i.dims for i in graph.initializer}
    dequantised = [node for node in graph.node if node.op_type == "DequantizeLinear" and node.input[0] in kernels]
    assert len(dequantised) == len(kernels)
    for node in dequantised:
        assert scales[node.input[1]] == kernels[node.input[0]].dims[:1]


def test_calibration_data_decides_the_ranges_of_activations(tmp_path: Path) -> None:
    module = nn.Conv2d(1, 1, 1, bias=False)
    nn.init.ones_(module.weight)
    file, target = tmp_path / "net.onnx", tmp_path / "int8.onnx"
    export_onnx(module, (torch.zeros(1, 1, 4, 4),), file)
    (name,) = [value.name for value in onnx.load(file).graph.input]
    quantise(file, target, [{name: np.linspace(-1, 1, 16, dtype=np.float32).reshape(1, 1, 4, 4)}])
    session = onnxruntime.InferenceSession(str(target), providers=["CPUExecutionProvider"])
    (inside,) = session.run(None, {name: np.full((1, 1, 4, 4), 0.5, np.float32)})
    (outside,) = session.run(None, {name: np.full((1, 1, 4, 4), 10.0, np.float32)})
    assert inside == pytest.approx(0.5, abs=0.02)  # two steps of 2/255
    assert outside == pytest.approx(1.0, abs=0.02)  # what calibration never showed is cut off


def test_int8_is_judged_by_the_energy_of_its_error() -> None:
    expected = torch.tensor([3.0, 4.0])
    tenth = torch.tensor([3.0, 4.0 + math.sqrt(2.5)])  # an error of a tenth of the energy of 25
    assert signal_to_noise([tenth], [expected]) == pytest.approx(10.0)
    assert signal_to_noise([expected], [expected]) == math.inf
    assert verify("n", [tenth - 0.001], [expected], "int8") == pytest.approx(math.sqrt(2.5) / 4, rel=1e-2)
    with pytest.raises(LatencyError, match=r"signal-to-noise ratio is 9.* dB \(at least 10\)"):
        verify("n", [tenth + 0.01], [expected], "int8")
    with pytest.raises(LatencyError, match="nan dB"):
        verify("n", [tenth * math.nan], [expected], "int8")


@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-4), ("fp16", 1e-2), ("bf16", 5e-2)])
def test_the_tolerance_is_that_of_the_precision_and_stated(precision: Any, tolerance: float) -> None:
    one = torch.ones(4)
    assert verify("n", [one * (1 + 0.9 * tolerance)], [one], precision) == pytest.approx(0.9 * tolerance, rel=1e-2)
    with pytest.raises(LatencyError, match=rf"at most {tolerance:g} in {precision}"):
        verify("n", [one * (1 + 1.1 * tolerance)], [one], precision)


# --------------------------------------------------------------------------- what is not there


class Lacking(OnnxRuntime):
    needs = ("no_such_module_for_runtimes",)


class Failing(OnnxRuntime):
    def convert(self, source: Source) -> tuple[dict[str, Any], str]:
        raise RuntimeError("some operator\nis not known")


def test_a_missing_converter_says_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(
        LatencyError, match="needs no_such_module_for_runtimes on this machine: pip install 'onnxruntime'"
    ):
        Lacking().prepare("the block", (BLOCK, X), local_profile(), tmp_path)


def test_whatever_a_converter_raises_becomes_an_error_that_names_network_and_runtime(tmp_path: Path) -> None:
    expected = "the block: onnxruntime cannot run it: RuntimeError: some operator is not known"
    with pytest.raises(LatencyError, match=expected) as caught:
        Failing().prepare("the block", (BLOCK, X), local_profile(), tmp_path)
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_a_provider_that_is_not_there_is_refused_with_those_that_are(tmp_path: Path) -> None:
    here = local_profile(provider="CoreMLExecutionProvider")
    if here.provider in onnxruntime.get_available_providers():
        pytest.skip("this ONNX Runtime has CoreML")
    with pytest.raises(
        LatencyError, match=r"no CoreMLExecutionProvider; it has .*CPUExecutionProvider.*onnxruntime-gpu"
    ):
        RUNTIMES["onnxruntime"].prepare("the block", (BLOCK, X), here, tmp_path)


@pytest.mark.parametrize("runtime", SLOW)
def test_a_missing_compiler_is_said_before_anything_is_compiled(
    runtime: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler -O2")
    with pytest.raises(LatencyError, match=r"needs a C\+\+ compiler, and 'no-such-compiler -O2' is not on the PATH"):
        RUNTIMES[runtime].prepare("the block", (BLOCK, X), local_profile(runtime), tmp_path)  # type: ignore[arg-type]


def test_a_package_compiled_for_this_processor_is_not_offered_to_devices(tmp_path: Path) -> None:
    away: Profile = local_profile("aotinductor", transport="ssh", address="pi@board")
    with pytest.raises(LatencyError, match="compiles for this machine's processor"):
        RUNTIMES["aotinductor"].prepare("the block", (BLOCK, X), away, tmp_path)


def test_a_network_for_a_device_is_verified_here_whatever_the_provider_there(tmp_path: Path) -> None:
    away = local_profile(provider="QNNExecutionProvider", transport="ssh", address="pi@board")
    found = RUNTIMES["onnxruntime"].prepare("the block", (BLOCK, X), away, tmp_path)
    assert found.difference <= 1e-4 and found.model["provider"] == "QNNExecutionProvider"


def test_torch_s_threads_are_left_as_they_were(tmp_path: Path) -> None:
    before = torch.get_num_threads()
    RUNTIMES["torch"].prepare("the block", (BLOCK, X), local_profile("torch", threads=2), tmp_path)
    assert torch.get_num_threads() == before


# --------------------------------------------------------------------------- verifying


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
@pytest.mark.parametrize("runtime", each(*(name for name in RUNTIMES if name not in SLOW)))
def test_probes_work_on_every_runtime_and_are_no_blocks(probe: Probe, runtime: str, tmp_path: Path) -> None:
    assert type(probe).__name__ in PROBES and type(probe).__name__ not in registry
    here = local_profile(runtime)  # type: ignore[arg-type]
    model = RUNTIMES[runtime].prepare("probe", (probe, Probe.INPUT), here, tmp_path)
    LOADERS[model.model["kind"]](model.model, 1)()

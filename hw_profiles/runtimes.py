"""Runtimes: how a network gets from a spec into what executes it, and is shown to compute the same there."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import inspect
import logging
import sys
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from archfront.space.domains import children
from archfront.space.serial import decode, encode
from archfront.space.spec import Spec
from archfront.space.types import Feature, FeatureType, Image

from . import worker
from .profile import LatencyError, Profile

TOLERANCE = 1e-4
"""Largest difference from torch that a runtime may show, as a share of the largest output (or of 1, if more)."""

Workload = tuple[Spec, FeatureType]
"""What is timed: a spec and what it is fed. Weights do not matter to latency, so there are none here."""


# --------------------------------------------------------------------------- fixed workloads


class Probe(Spec, kind="probe"):
    """A fixed workload that measuring itself needs; no block, so not registered. Its input type is always `INPUT`."""

    INPUT: ClassVar[Feature] = Image(16, 24, 24)

    def output(self, x: Feature) -> Feature:
        return x


class Reference(Probe, kind="probe"):
    """The network in every run by which drift is noticed and levels of different runs are compared."""

    def build(self, x: Feature) -> nn.Module:
        layers: list[nn.Module] = []
        for _ in range(4):
            layers += [nn.Conv2d(16, 96, 1), nn.ReLU(), nn.Conv2d(96, 96, 3, padding=1, groups=96), nn.ReLU()]
            layers += [nn.Conv2d(96, 16, 1)]
        return nn.Sequential(*layers)


class Overhead(Probe, kind="probe"):
    """Next to nothing: what is left is the price of calling the runtime once."""

    def build(self, x: Feature) -> nn.Module:
        return nn.ReLU()


PROBES: dict[str, type[Probe]] = {probe.__name__: probe for probe in (Reference, Overhead)}


# --------------------------------------------------------------------------- preparing


@dataclass(frozen=True)
class Prepared:
    """A model ready for a worker process.

    Args:
        model: its entry in the worker's job.
        converter: what wrote it ("torchscript" or "dynamo" exporter, "none" in eager).
        difference: largest difference from torch's output, in the unit of `TOLERANCE`.
    """

    model: Mapping[str, Any]
    converter: str
    difference: float


class Runtime(ABC):
    """Converts workloads, verifies them against torch, and writes what a worker loads."""

    @abstractmethod
    def prepare(self, name: str, workload: Workload, profile: Profile, folder: Path) -> Prepared:
        """Convert and verify; files go into `folder`.

        Raises:
            LatencyError: the runtime cannot run it, or computes something else than torch.
        """


def example_module(workload: Workload) -> tuple[nn.Module, tuple[Any, ...]]:
    """The module in evaluation mode, and the arguments of one call: a random input.

    Vectors of parameters are shifted at random: a branch that starts at scale 0, as residual branches often do, would
    hide a wrong conversion. The same workload always gives the same numbers; the global generator is left as it was.
    """
    spec, x = workload
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        module = spec.build(x).eval()
        for parameter in module.parameters():
            if parameter.squeeze().dim() <= 1:
                parameter.add_(torch.rand_like(parameter) - 0.5)
        return module, x.arguments()


def tensors(value: Any) -> list[Tensor]:
    """The tensors that a module takes or returns, in order."""
    return [value] if isinstance(value, Tensor) else [t for item in value for t in tensors(item)]


def verify(name: str, found: list[Tensor], expected: list[Tensor]) -> float:
    """The largest difference between two lists of tensors, as a share of the largest expected value (at least 1).

    Raises:
        LatencyError: above `TOLERANCE`, not a number, or of another shape.
    """
    if [t.shape for t in found] != [t.shape for t in expected]:
        raise LatencyError(f"{name}: the runtime yields {[tuple(t.shape) for t in found]}, "
                           f"torch {[tuple(t.shape) for t in expected]}")  # fmt: skip
    scale = max(1.0, *(float(t.abs().max()) for t in expected))
    difference = max(float((a - b).abs().max()) for a, b in zip(found, expected, strict=True)) / scale
    if not difference <= TOLERANCE:  # true of NaN as well
        raise LatencyError(
            f"{name}: the runtime's output differs from torch's by {difference:.2g} of its largest value "
            f"(at most {TOLERANCE:g}); its latency would be that of another network"
        )
    return difference


# --------------------------------------------------------------------------- ONNX Runtime

OPSET = 20
"""The newest that both exporters of torch write."""


@contextlib.contextmanager
def quiet_exporter() -> Iterator[None]:
    """Keep the exporters' chatter (deprecation, tracing, missing torchvision) away: what they wrote is verified."""
    logger = logging.getLogger("torch.onnx")
    level, log = logger.level, torch._C._jit_onnx_log
    logger.setLevel(logging.ERROR)
    torch._C._jit_onnx_log = lambda *_: None  # prints the graph of every failed export, and has no working switch
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
        torch._C._jit_onnx_log = log


def export_onnx(module: nn.Module, inputs: tuple[Any, ...], file: Path) -> str:
    """Write the module as one ONNX file; returns which exporter wrote it.

    The TorchScript exporter goes first because it takes milliseconds where the dynamo exporter takes seconds, for the
    same latency; operators that it does not know (Fourier transforms) go through dynamo.

    Raises:
        LatencyError: neither exporter can.
    """
    with quiet_exporter(), torch.no_grad():
        try:
            torch.onnx.export(module, inputs, file, dynamo=False, opset_version=OPSET)
            return "torchscript"
        except torch.onnx.errors.OnnxExporterError as first:
            unknown = str(first).splitlines()[0]
        try:
            torch.onnx.export(
                module, inputs, file, dynamo=True, opset_version=OPSET, external_data=False, verbose=False
            )
            return "dynamo"
        except torch.onnx.errors.OnnxExporterError as second:
            raise LatencyError(f"no ONNX export: {unknown}; dynamo: {str(second).splitlines()[0]}") from None


class OnnxRuntime(Runtime):
    """ONNX Runtime on the CPU, batch normalisation folded and operators fused as in deployment."""

    def prepare(self, name: str, workload: Workload, profile: Profile, folder: Path) -> Prepared:
        module, inputs = example_module(workload)
        file = folder / f"{len(list(folder.iterdir()))}.onnx"
        with torch.no_grad():
            expected = tensors(module(*inputs))
        try:
            exporter = export_onnx(module, inputs, file)
        except LatencyError as error:
            raise LatencyError(f"{name}: {error}") from None
        difference = verify(name, self._run(name, file, inputs, profile), expected)
        return Prepared({"kind": "onnx", "file": str(file), "provider": profile.provider}, exporter, difference)

    def _run(self, name: str, file: Path, inputs: tuple[Any, ...], profile: Profile) -> list[Tensor]:
        import onnxruntime
        from onnxruntime.capi import onnxruntime_pybind11_state as state

        try:
            session = onnxruntime.InferenceSession(
                str(file), worker.session_options(profile.threads), providers=[profile.provider]
            )
        except (state.Fail, state.InvalidGraph, state.NotImplemented, state.InvalidArgument) as error:
            raise LatencyError(f"{name}: ONNX Runtime refuses the exported network: {error}") from None
        feed = {i.name: t.numpy() for i, t in zip(session.get_inputs(), tensors(inputs), strict=True)}
        return [torch.from_numpy(array) for array in session.run(None, feed)]


# --------------------------------------------------------------------------- torch eager


class Eager(Runtime):
    """Modules called as they are. Not what edge devices run: labelled, and for comparison.

    A worker builds the module from its spec, as plain data: that needs no unpickling and no conversion (a saved
    `torch.export` program is no eager module any more, and takes a second a block). Files that define blocks are
    imported there by name, or from their path.
    """

    def prepare(self, name: str, workload: Workload, profile: Profile, folder: Path) -> Prepared:
        spec, x = workload
        module, inputs = example_module(workload)
        with torch.no_grad():
            expected = tensors(module(*inputs))
        difference = verify(name, expected, expected)  # nothing is converted, but NaN must not be timed either
        modules = {cls.__module__: _source(cls) for cls in spec_classes(spec) if cls.__name__ not in PROBES}
        model = {"spec": encode(spec), "input": x.to_dict(), "modules": modules, "path": sys.path}
        return Prepared({"kind": "torch", **model}, "none", difference)


def spec_classes(value: object) -> set[type[Spec]]:
    """The classes of all specs inside `value`."""
    inner = set().union(*map(spec_classes, children(value)))
    return inner | {type(value)} if isinstance(value, Spec) else inner


def _source(cls: type[Spec]) -> str:
    try:
        return str(Path(inspect.getfile(cls)).resolve())
    except (TypeError, OSError):
        raise LatencyError(
            f"{cls.__name__} was defined interactively; torch eager is measured in fresh processes, which must be able "
            "to import it: put it into a file"
        ) from None


def import_source(name: str, file: str) -> ModuleType:
    """Import the module `name`, from the import path if that leads to `file`, else from the file itself."""
    if name != "__main__" and name in sys.modules:
        return sys.modules[name]
    try:
        found = None if name == "__main__" else importlib.util.find_spec(name)
    except ModuleNotFoundError:
        found = None
    if found is not None and found.origin is not None and Path(found.origin).resolve() == Path(file):
        return importlib.import_module(name)
    name = "__mp_main__" if name == "__main__" else name  # a script's `if __name__ == "__main__"` must not run again
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def load_eager(model: Mapping[str, Any]) -> worker.Session:
    """In a worker: the module that `Eager.prepare` described, ready to run."""
    sys.path.extend(entry for entry in model["path"] if entry not in sys.path)
    for name, file in model["modules"].items():
        import_source(name, file)
    kind = model["spec"]["type"]
    spec = PROBES[kind]() if kind in PROBES else decode(model["spec"], "spec")
    module, inputs = example_module((spec, FeatureType.from_dict(model["input"])))

    def run() -> object:
        with torch.inference_mode():
            return module(*inputs)

    return run


RUNTIMES: dict[str, Runtime] = {"onnxruntime": OnnxRuntime(), "torch": Eager()}

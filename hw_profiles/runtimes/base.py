"""The one interface of all runtimes: convert a network, load it as the measuring process will, compare with torch."""

from __future__ import annotations

import contextlib
import importlib.util
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from .. import worker
from ..profile import ENGINES, LatencyError, Precision, Profile, RuntimeName
from .workload import Workload, example_module, nested, tensors

TOLERANCES: dict[Precision, float] = {"fp32": 1e-4, "fp16": 1e-2, "bf16": 5e-2}
"""Largest difference from torch in fp32 that a runtime may show, as a share of the largest output (or of 1, if more).

About ten roundings of the largest output for the short formats. For int8 see `SIGNAL_TO_NOISE`.
"""

SIGNAL_TO_NOISE = 10.0
"""Decibels: an int8 network's error may have a tenth of the energy of its output. More is another network."""

DTYPES: dict[Precision, torch.dtype] = {"fp16": torch.float16, "bf16": torch.bfloat16}
"""The formats that a module is cast to; int8 is reached by quantising."""


@dataclass(frozen=True)
class Prepared:
    """A model ready for a worker process.

    Args:
        model: its entry in the worker's job.
        converter: what wrote it ("torchscript" or "dynamo" exporter, ..., "none" in eager).
        difference: largest difference from torch's output in fp32, in the unit of `TOLERANCES`.
    """

    model: Mapping[str, Any]
    converter: str
    difference: float


@dataclass(frozen=True)
class Source:
    """What a runtime converts.

    Args:
        workload: the spec and its input type.
        module: in evaluation mode, in fp32.
        inputs: the arguments of one call, in fp32.
        profile: how it is going to run.
        folder: where files go.
    """

    workload: Workload
    module: nn.Module
    inputs: tuple[Any, ...]
    profile: Profile
    folder: Path

    def file(self, suffix: str) -> Path:
        """A path in the folder that is not taken."""
        return self.folder / f"{len(list(self.folder.iterdir()))}{suffix}"

    @property
    def dtype(self) -> torch.dtype:
        """What a module is cast to for the profile's precision; fp32 where that is reached otherwise."""
        return DTYPES.get(self.profile.precision, torch.float32)

    def cast(self) -> tuple[nn.Module, tuple[Any, ...]]:
        """Module (itself, changed) and inputs in the number format of the profile."""
        return self.module.to(self.dtype), nested(self.inputs, lambda t: t.to(self.dtype))

    @property
    def shapes(self) -> Any:
        """The shapes of the inputs, nested as the arguments are."""
        return nested(self.inputs, lambda t: list(t.shape))


class Runtime(ABC):
    """Converts workloads, verifies them against torch, and writes what a worker loads."""

    name: ClassVar[RuntimeName]
    precisions: ClassVar[tuple[Precision, ...]]
    needs: ClassVar[tuple[str, ...]] = ()
    """Python modules of an optional extra that converting takes."""

    @abstractmethod
    def convert(self, source: Source) -> tuple[dict[str, Any], str]:
        """The model's entry in the worker's job, and what wrote it."""

    def require(self, profile: Profile) -> None:
        """Refuse what the runtime cannot do on this machine or on the device.

        Raises:
            LatencyError: not installed here, or a precision or provider that it does not have; says what would work.
        """
        if profile.precision not in self.precisions:
            raise LatencyError(f"runtime {self.name} has no {profile.precision}; it has {', '.join(self.precisions)}")
        missing = [module for module in self.needs if importlib.util.find_spec(module) is None]
        if missing:
            raise LatencyError(
                f"converting for runtime {self.name} needs {' and '.join(missing)} on this machine: "
                f"pip install '{ENGINES[self.name].install}'"
            )

    def run(self, model: Mapping[str, Any], source: Source) -> list[Tensor]:
        """What the converted model yields, loaded by the very function that loads it where it is timed.

        What is meant for a device is run by the usual provider: this machine need not have that of the device.
        """
        if source.profile.transport != "local":
            model = {**model, "provider": ENGINES[self.name].provider}
        session = worker.LOADERS[model["kind"]](model, source.profile.threads, nested(source.inputs, Tensor.numpy))
        return [torch.as_tensor(value).clone() for value in worker.flat(session())]

    def prepare(self, name: str, workload: Workload, profile: Profile, folder: Path) -> Prepared:
        """Convert and verify; files go into `folder`.

        Raises:
            LatencyError: the runtime is not installed, cannot run it, or computes something else than torch.
        """
        self.require(profile)
        module, inputs = example_module(workload, profile.batch)
        source = Source(workload, module, inputs, profile, folder)
        with torch.no_grad(), torch_threads(profile.threads):
            expected = tensors(module(*inputs))
            try:
                model, converter = self.convert(source)
                found = [t.float() for t in self.run(model, source)]
            except LatencyError as error:
                raise LatencyError(f"{name}: {error}") from None
            except Exception as error:  # converters and compilers raise anything, and none of it is a bug here
                raise LatencyError(f"{name}: {self.name} cannot run it: {_said(error)}") from error
        return Prepared(model, converter, verify(name, found, expected, profile.precision))


@contextlib.contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Let torch compute in `count` threads, then as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _said(error: Exception, length: int = 300) -> str:
    """What an error of a foreign library says, on one line and not endless."""
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return text if len(text) <= length else text[: length - 3] + "..."


def verify(name: str, found: list[Tensor], expected: list[Tensor], precision: Precision = "fp32") -> float:
    """The largest difference between two lists of tensors, as a share of the largest expected value (at least 1).

    Raises:
        LatencyError: above the tolerance of the precision, not a number, or of another shape.
    """
    if [t.shape for t in found] != [t.shape for t in expected]:
        raise LatencyError(f"{name}: the runtime yields {[tuple(t.shape) for t in found]}, "
                           f"torch {[tuple(t.shape) for t in expected]}")  # fmt: skip
    scale = max(1.0, *(float(t.abs().max()) for t in expected))
    difference = max(float((a - b).abs().max()) for a, b in zip(found, expected, strict=True)) / scale
    if precision == "int8":
        ratio = signal_to_noise(found, expected)
        if not ratio >= SIGNAL_TO_NOISE:
            raise LatencyError(
                f"{name}: in int8 the output's signal-to-noise ratio is {ratio:.1f} dB (at least {SIGNAL_TO_NOISE:g}); "
                "its latency would be that of a network that does not work"
            )
    elif not difference <= TOLERANCES[precision]:  # true of NaN as well
        raise LatencyError(
            f"{name}: the runtime's output differs from torch's by {difference:.2g} of its largest value "
            f"(at most {TOLERANCES[precision]:g} in {precision}); its latency would be that of another network"
        )
    return difference


def signal_to_noise(found: list[Tensor], expected: list[Tensor]) -> float:
    """Decibels between the energy of the expected values and that of their error; infinite where there is none."""
    signal = sum(float(t.double().square().sum()) for t in expected)
    noise = sum(float((a - b).double().square().sum()) for a, b in zip(found, expected, strict=True))
    if noise == 0:
        return math.inf
    return 10 * math.log10(signal / noise) if signal > 0 else -math.inf

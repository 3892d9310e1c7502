"""Runtimes: how a network gets from a spec into what executes it, and is shown to compute the same there."""

from .base import SIGNAL_TO_NOISE, TOLERANCES, Prepared, Runtime, Source, verify
from .eager import Eager, import_source, load_eager, spec_classes
from .exec_torch import ExecuTorch
from .inductor import AotInductor, TorchCompile
from .int8 import quantise
from .lite_rt import LiteRt
from .onnx_file import OPSET, export_onnx, quiet_exporter
from .onnx_runtime import OnnxRuntime
from .open_vino import OpenVino
from .workload import (
    PROBES,
    CacheStreaming,
    Computing,
    Overhead,
    Probe,
    Reference,
    Streaming,
    Workload,
    example_module,
    tensors,
)

RUNTIMES: dict[str, Runtime] = {
    runtime.name: runtime
    for runtime in (OnnxRuntime(), Eager(), TorchCompile(), AotInductor(), OpenVino(), ExecuTorch(), LiteRt())
}

__all__ = [
    "OPSET",
    "PROBES",
    "RUNTIMES",
    "SIGNAL_TO_NOISE",
    "TOLERANCES",
    "CacheStreaming",
    "Computing",
    "Overhead",
    "Prepared",
    "Probe",
    "Reference",
    "Runtime",
    "Source",
    "Streaming",
    "Workload",
    "example_module",
    "export_onnx",
    "import_source",
    "load_eager",
    "quantise",
    "quiet_exporter",
    "spec_classes",
    "tensors",
    "verify",
]

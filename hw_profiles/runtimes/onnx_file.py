"""From a module to an ONNX file, which ONNX Runtime and OpenVINO read."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..profile import LatencyError

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

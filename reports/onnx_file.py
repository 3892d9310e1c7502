"""ONNX files: written with a free batch size, and run to see that they compute what the module computes."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from archfront.hw_profiles.runtimes import OPSET, quiet_exporter

from .definitions import ExportError


def write_onnx(network: nn.Module, inputs: Tensor, path: Path) -> None:
    """Write a network in evaluation mode, weights included, for inputs like `inputs` and any number of them."""
    with quiet_exporter():
        try:
            torch.onnx.export(
                network,
                (inputs[:2],),  # a batch of one would be taken for a constant
                path,
                dynamo=True,
                external_data=False,
                opset_version=OPSET,
                input_names=["input"],
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                verbose=False,
            )
        except torch.onnx.errors.OnnxExporterError as error:
            raise ExportError(f"torch.onnx cannot write this network (onnx=False does without): {error}") from error


def run_onnx(path: Path, inputs: Tensor) -> list[Tensor]:
    """What ONNX Runtime yields for `inputs` on the CPU."""
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        outputs = session.run(None, {session.get_inputs()[0].name: inputs.numpy()})
    except (
        state.Fail,
        state.InvalidArgument,
        state.InvalidGraph,
        state.NotImplemented,
        state.RuntimeException,
    ) as error:
        raise ExportError(f"ONNX Runtime does not run {path.name} (onnx=False does without): {error}") from error
    return [torch.from_numpy(output) for output in outputs]

"""What a network computes once it is deployed in int8: that is what its accuracy has to be measured of."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from archfront.hw_profiles.runtimes import export_onnx, quantise

BATCH = 64
"""Images a run: the file is written for so many, and the last ones are filled up."""


def in_int8(network: nn.Module, calibration: Iterable[Tensor]) -> Callable[[Tensor], Tensor]:
    """A network in evaluation mode with int8 weights and activations, as ONNX Runtime computes it.

    Static quantisation: a scale a channel for weights, ranges of activations from the calibration images. Another
    runtime rounds a little differently; its accuracy is that of the same numbers.

    Args:
        network: takes normalised images (N, C, H, W) and gives scores (N, classes).
        calibration: batches of normalised training images.

    Returns:
        From normalised images (N, C, H, W), any N, to scores (N, classes).

    Raises:
        LatencyError: the network cannot be written as ONNX.
    """
    import onnxruntime

    batches = [_filled(part) for batch in calibration for part in torch.split(batch, BATCH)]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = torch.get_num_threads(), 3
    with tempfile.TemporaryDirectory(prefix="archfront-int8-") as folder:
        plain, file = Path(folder) / "fp32.onnx", Path(folder) / "int8.onnx"
        export_onnx(network, (batches[0],), plain)
        name = _session(plain, options).get_inputs()[0].name
        quantise(plain, file, ({name: batch.numpy()} for batch in batches))
        session = _session(file, options)

    def compute(x: Tensor) -> Tensor:
        parts = torch.split(x.cpu(), BATCH)
        scores = [torch.from_numpy(session.run(None, {name: _filled(part).numpy()})[0]) for part in parts]
        return torch.cat([score[: len(part)] for score, part in zip(scores, parts, strict=True)]).to(x.device)

    return compute


def _session(file: Path, options: Any) -> Any:
    import onnxruntime

    return onnxruntime.InferenceSession(file.read_bytes(), options, providers=["CPUExecutionProvider"])


def _filled(images: Tensor) -> Tensor:
    """`BATCH` images: the first ones again where there are fewer."""
    places = torch.arange(BATCH) % len(images)
    return images.cpu().contiguous()[places]

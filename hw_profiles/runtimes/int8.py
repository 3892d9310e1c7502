"""Static int8 quantisation of ONNX files: weights per channel, activations by the ranges that calibration data shows."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .workload import nested, tensors

CALIBRATION = 8
"""Random inputs that a network is calibrated with whose accuracy nobody asks for."""


def quantise(file: Path, target: Path, feeds: Iterable[Mapping[str, Any]]) -> None:
    """Write the ONNX network in `file` with int8 weights and activations, as pairs of QuantizeLinear/DequantizeLinear.

    Args:
        file: the network in fp32.
        target: where the int8 network goes.
        feeds: inputs by name, as numpy arrays, whose ranges decide the scales: images of the study where accuracy
            counts. Latency does not depend on them.
    """
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.feeds = iter(feeds)

        def get_next(self) -> Mapping[str, Any] | None:
            return next(self.feeds, None)

    with _quiet():
        quantize_static(
            file,
            target,
            Reader(),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )


def random_feeds(names: Iterable[str], inputs: tuple[Any, ...]) -> Iterator[dict[str, Any]]:
    """Calibration data for a network that is only timed: what it is verified with, and more of that distribution."""
    names = list(names)
    generator = torch.Generator().manual_seed(0)

    def another(like: Tensor) -> Tensor:
        return torch.randn(like.shape, generator=generator)

    for draw in range(CALIBRATION):
        values = tensors(inputs if draw == 0 else nested(inputs, another))
        yield {name: value.numpy() for name, value in zip(names, values, strict=True)}


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep advice on preprocessing and on constants that nobody needs away: the exporters have folded and fused already."""
    import onnxruntime

    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    onnxruntime.set_default_logger_severity(3)
    try:
        yield
    finally:
        root.setLevel(level)
        onnxruntime.set_default_logger_severity(2)

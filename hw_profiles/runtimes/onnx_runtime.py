"""ONNX Runtime, the default: what most edge devices can run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..profile import LatencyError, Profile
from .base import Runtime, Source
from .int8 import quantise, random_feeds
from .onnx_file import export_onnx


class OnnxRuntime(Runtime):
    """ONNX Runtime, batch normalisation folded and operators fused as in deployment.

    fp16 networks take and yield fp16. int8 is static, per channel, calibrated with random inputs: latency does not
    depend on the ranges.
    """

    name = "onnxruntime"
    precisions = ("fp32", "fp16", "int8")

    def require(self, profile: Profile) -> None:
        super().require(profile)
        if profile.transport == "local":
            import onnxruntime

            providers = onnxruntime.get_available_providers()
            if profile.provider not in providers:
                raise LatencyError(
                    f"this ONNX Runtime has no {profile.provider}; it has {', '.join(providers)}. CUDA and TensorRT "
                    "come with pip install onnxruntime-gpu in place of onnxruntime"
                )

    def convert(self, source: Source) -> tuple[dict[str, Any], str]:
        file, converter = onnx_file(source)
        return {"kind": "onnx", "file": str(file), "provider": source.profile.provider}, converter


def onnx_file(source: Source, cast: bool = True) -> tuple[Path, str]:
    """The workload as an ONNX file, and what wrote it.

    Args:
        source: the workload.
        cast: whether the file itself is in the short format of the profile; int8 always is.
    """
    module, inputs = source.cast() if cast else (source.module, source.inputs)
    file = source.file(".onnx")
    exporter = export_onnx(module, inputs, file)
    if source.profile.precision != "int8":
        return file, exporter
    import onnx

    names = [value.name for value in onnx.load(file).graph.input]
    target = source.file("-int8.onnx")
    quantise(file, target, random_feeds(names, inputs))
    return target, f"{exporter}, static int8 (random calibration)"

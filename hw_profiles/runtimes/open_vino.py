"""OpenVINO, for processors of Intel and others."""

from __future__ import annotations

from typing import Any

from ..profile import LatencyError, Profile
from .base import Runtime, Source
from .onnx_runtime import onnx_file

HINTS = {"fp32": "f32", "fp16": "f16", "bf16": "bf16", "int8": "f32"}
"""In what OpenVINO computes what is not quantised: said always, since it would choose bf16 where a processor has it."""

CAPABILITIES = {"fp32": "FP32", "fp16": "FP16", "bf16": "BF16", "int8": "INT8"}


class OpenVino(Runtime):
    """OpenVINO reading the ONNX file; fp16 and bf16 are what it computes in, not what it is given.

    int8 reads the file that ONNX Runtime quantised.
    """

    name = "openvino"
    precisions = ("fp32", "fp16", "bf16", "int8")
    needs = ("openvino",)

    def require(self, profile: Profile) -> None:
        super().require(profile)
        if profile.transport == "local":
            import openvino

            core = openvino.Core()
            if profile.provider not in core.available_devices:
                raise LatencyError(
                    f"this OpenVINO has no device {profile.provider!r}; it has {', '.join(core.available_devices)}"
                )
            found = core.get_property(profile.provider, "OPTIMIZATION_CAPABILITIES")
            if CAPABILITIES[profile.precision] not in found:
                raise LatencyError(
                    f"OpenVINO computes no {profile.precision} on this {profile.provider}; it has {', '.join(found)}"
                )

    def convert(self, source: Source) -> tuple[dict[str, Any], str]:
        file, converter = onnx_file(source, cast=False)
        provider, hint = source.profile.provider, HINTS[source.profile.precision]
        return {"kind": "openvino", "file": str(file), "provider": provider, "hint": hint}, converter

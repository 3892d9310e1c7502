"""LiteRT (once TensorFlow Lite) with its XNNPACK delegate, for Android, the Raspberry Pi and others."""

from __future__ import annotations

import os
from typing import Any

from .base import Runtime, Source
from .quiet import quiet


class LiteRt(Runtime):
    """torch.export, converted by litert-torch; inputs keep their NCHW order, and are transposed inside."""

    name = "litert"
    precisions = ("fp32",)
    needs = ("litert_torch", "ai_edge_litert")

    def convert(self, source: Source) -> tuple[dict[str, Any], str]:
        file = source.file(".tflite")
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # its compiled part reports on every network
        with quiet():
            import litert_torch

            litert_torch.convert(source.module, source.inputs).export(str(file))
        return {"kind": "litert", "file": str(file), "shapes": source.shapes}, "litert-torch"

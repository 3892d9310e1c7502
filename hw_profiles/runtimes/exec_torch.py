"""ExecuTorch with the XNNPACK delegate, which phones run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from .base import Runtime, Source
from .quiet import quiet

MOST_DIMENSIONS = 6
"""Of a tensor in XNNPACK. Its partitioner does not look, and a program with more cannot be loaded."""


class ExecuTorch(Runtime):
    """torch.export, lowered to XNNPACK as far as that knows the operators; the rest runs in portable kernels."""

    name = "executorch"
    precisions = ("fp32", "fp16")
    needs = ("executorch",)

    def convert(self, source: Source) -> tuple[dict[str, Any], str]:
        with quiet():
            from executorch.backends.xnnpack.partition.config import ALL_PARTITIONER_CONFIGS
            from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
            from executorch.exir import to_edge_transform_and_lower

            module, inputs = source.cast()
            partitioner = XnnpackPartitioner(configs=[narrow(config) for config in ALL_PARTITIONER_CONFIGS])
            lowered = to_edge_transform_and_lower(torch.export.export(module, inputs), partitioner=[partitioner])
            file = source.file(".pte")
            file.write_bytes(lowered.to_executorch().buffer)
        dtype = str(source.dtype).removeprefix("torch.")
        return {"kind": "executorch", "file": str(file), "shapes": source.shapes, "dtype": dtype}, "executorch"

    def run(self, model: Mapping[str, Any], source: Source) -> list[Tensor]:
        with quiet():
            return super().run(model, source)


def narrow(config: type[Any]) -> type[Any]:
    """A rule of the partitioner that leaves operators on wider tensors, as windows of attention have, to the rest."""

    def check_constraints(self: Any, node: torch.fx.Node, program: Any) -> bool:
        values = (each.meta.get("val") for each in (node, *node.all_input_nodes))
        dimensions = max((value.dim() for value in values if isinstance(value, Tensor)), default=0)
        return dimensions <= MOST_DIMENSIONS and bool(config.check_constraints(self, node, program))

    return type(config.__name__, (config,), {"check_constraints": check_constraints})

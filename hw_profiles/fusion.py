"""What fusing kernels saves: the bytes that a network moves as separate kernels, as fused layers, and as fused blocks.

A group of operators that runs as one kernel moves its inputs, its outputs and its weights; what lies between stays
where it is computed. From operations and bytes of every kernel and the peaks of a machine follows a lower bound of the
latency (`roofline`). It is a model: nobody measured it, and not every machine has such kernels.

    none        every operator is a kernel
    pointwise   normalisation, activation and sums run in the kernel whose result they read
    block       every part of an architecture is one kernel

`run_tiled` shows for the ConvFirst block that the third way computes the same, and counts the bytes that it moves.

After Lavin, 2024, On the Efficiency of Convolutional Neural Networks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archfront.space.architecture import Architecture
from archfront.space.errors import ArchfrontError
from archfront.space.library.block.conv_first import ConvFirst, ConvFirstBlock
from archfront.space.types import Feature, FeatureType

from . import counting, liveness
from .metrics import Measurement
from .operators import FREE_OPERATORS, CostError, Value, handles, numel, shape
from .peaks import Peaks
from .roofline import Kernel, Level, attainable_seconds

Fusion = Literal["none", "pointwise", "block"]
"""How much runs as one kernel; see the module."""

FUSIONS: tuple[Fusion, ...] = ("none", "pointwise", "block")


class FusionError(ArchfrontError):
    """A block that cannot run as one kernel: says why."""


# --------------------------------------------------------------------------- any network


def lower_bound(
    architecture: Architecture, peaks: Peaks, fusion: Fusion = "pointwise", batch: int = 1, level: Level = "memory"
) -> Measurement:
    """The least milliseconds that a batch can take on a machine, by its peaks alone; modelled, not measured."""
    kernels = network_kernels(architecture, fusion, batch)
    return Measurement(1e3 * math.fsum(attainable_seconds(kernels, peaks, level)), "modelled")


def network_kernels(architecture: Architecture, fusion: Fusion = "none", batch: int = 1) -> list[Kernel]:
    """The kernels of an architecture, part after part.

    Raises:
        CostError: an operator has no known cost.
    """
    return [
        kernel
        for path, spec, x in architecture.parts
        for kernel in module_kernels(spec.build(x), x, fusion, batch, path or type(spec).__name__)
    ]


def module_kernels(
    module: nn.Module, x: FeatureType, fusion: Fusion = "none", batch: int = 1, name: str = ""
) -> list[Kernel]:
    """The kernels of a module for an input type in evaluation mode, in fp32.

    Args:
        module: what runs.
        x: what it is fed.
        fusion: what runs as one kernel.
        batch: samples at a time: activations and operations are as many times more, weights are not.
        name: in front of the names of kernels.
    """
    inputs = x.arguments(make=torch.zeros, dtype=torch.float32)
    fast = torch.backends.mha.get_fastpath_enabled()
    try:
        torch.backends.mha.set_fastpath_enabled(False)  # its one operator would hide what attention moves
        with torch.no_grad():
            graph = liveness.trace(module.eval(), inputs)
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
    flow = _Flow(graph, len(x.shapes))
    return [flow.kernel(group, batch, name) for group in flow.groups(fusion)]


POINTWISE = frozenset(
    f"aten::{name}{suffix}"
    for suffix in ("", "_")
    for name in """
    add sub mul div rsub neg abs pow sqrt rsqrt exp clamp clamp_min clamp_max minimum maximum where batch_norm relu
    relu6 hardtanh silu gelu sigmoid hardsigmoid hardswish tanh leaky_relu elu mish softplus prelu
    """.split()  # noqa: SIM905 - a table, not a list of strings
)
"""Operators that compute every number from numbers at its own position, and so can run where that was computed."""


@dataclass(frozen=True, eq=False)
class _Operator:
    """One operator that computes, and the numbers of the values that it reads and writes."""

    kind: str
    flops: int
    reads: frozenset[int]
    writes: frozenset[int]


class _Flow:
    """What flows between the operators of a traced graph; a view is the value that it looks at."""

    def __init__(self, graph: Any, inputs: int) -> None:
        self.operators: list[_Operator] = []
        self.bytes: dict[int, int] = {}
        self._behind: dict[int, frozenset[int]] = {}
        given = list(graph.inputs())
        for value in given:
            self._enter(value)
        self.weights = frozenset(value.unique() for value in given[inputs:])
        for node in graph.nodes():
            self._run(node)
        self.outputs = self._of(graph.outputs())

    def _enter(self, value: Value) -> int:
        number: int = value.unique()
        if value.isCompleteTensor():
            self.bytes[number] = numel(value) * int(value.type().dtype().itemsize)
            self._behind[number] = frozenset((number,))
        return number

    def _of(self, values: Any) -> frozenset[int]:
        return frozenset().union(*(self._behind.get(value.unique(), frozenset()) for value in values))

    def _run(self, node: Any) -> None:
        reads, results = self._of(node.inputs()), [v for v in liveness.results(node) if shape(v)]
        if liveness.only_views(node):
            for value in node.outputs():
                self._behind.setdefault(value.unique(), reads)
        elif results and node.kind() != "prim::Constant":
            self.operators.append(
                _Operator(node.kind(), _flops(node), reads, frozenset(self._enter(value) for value in results))
            )

    def groups(self, fusion: Fusion) -> list[list[_Operator]]:
        """The operators of every kernel, in order."""
        if fusion == "block":
            return [self.operators] if self.operators else []
        groups: list[list[_Operator]] = []
        written_in: dict[int, int] = {}
        for operator in self.operators:
            joined = self._joined(operator, written_in) if fusion == "pointwise" else None
            if joined is None:
                joined = len(groups)
                groups.append([])
            groups[joined].append(operator)
            written_in |= dict.fromkeys(operator.writes, joined)
        return groups

    def _joined(self, operator: _Operator, written_in: dict[int, int]) -> int | None:
        """The kernel that a pointwise operator runs in: the last one that writes something which it alone reads."""
        if operator.kind not in POINTWISE:
            return None
        alone = [
            value
            for value in operator.reads
            if value in written_in
            and value not in self.outputs
            and sum(value in other.reads for other in self.operators) == 1
        ]
        return max((written_in[value] for value in alone), default=None)

    def kernel(self, group: list[_Operator], batch: int, name: str) -> Kernel:
        """One kernel: inputs and weights from outside, results that are read outside, each moved once."""
        inside = frozenset().union(*(operator.writes for operator in group))
        read = frozenset().union(*(operator.reads for operator in group)) - inside
        others = [operator for operator in self.operators if operator not in group]
        wanted = self.outputs.union(*(operator.reads for operator in others))
        moved = (read - self.weights) | (inside & wanted)
        kind = max(group, key=lambda operator: operator.flops).kind.removeprefix("aten::").strip("_")
        return Kernel(
            f"{name} {kind}".strip(),
            kind,
            batch * sum(operator.flops for operator in group),
            sum(self.bytes[value] for value in read & self.weights),
            batch * sum(self.bytes[value] for value in moved),
        )


def _flops(node: Any) -> int:
    """Operations of a contraction, two for every multiply-add; 0 of anything else that is known.

    Raises:
        CostError: the operator has no known cost.
    """
    kind = node.kind()
    handle = (handles() | counting.registered_handles()).get(kind)
    if handle is not None:
        return 2 * handle(list(node.inputs()), list(node.outputs()))["contractions"]
    if kind in FREE_OPERATORS or (kind.startswith("prim::") and kind != "prim::PythonOp"):
        return 0
    raise CostError(f"no cost is known for the operator {kind}; see archfront.hw_profiles.cost.register_cost")


# --------------------------------------------------------------------------- the ConvFirst block as one kernel


@dataclass(frozen=True)
class Tiled:
    """What running a block tile by tile gave, and took.

    Args:
        output: of the block.
        read, written: bytes of activations from and to main memory.
        weights: bytes of weights and biases, which stay in local memory once they are there.
        workspace: bytes of local memory for what lies between, at most.
    """

    output: Tensor
    read: int
    written: int
    weights: int
    workspace: int


def run_tiled(block: ConvFirstBlock, x: Tensor, tile: int = 8, chunk: int = 32) -> Tiled:
    """Run a ConvFirst block as one kernel would: tile after tile of the output, the hidden channels chunk by chunk.

    For every tile the grouped convolution goes into a local buffer; then a chunk of hidden channels at a time is
    expanded, activated, and its projection added up. Only x and y touch main memory. This is a reference of what such a
    kernel computes and moves, not a fast one.

    Args:
        block: in evaluation mode; its normalisations are folded into its convolutions.
        x: a batch of inputs.
        tile: extent of a tile of the output.
        chunk: hidden channels at a time.

    Raises:
        FusionError: the block has a gate, which needs the whole map before any of it can go on.
    """
    if not isinstance(block.gate, nn.Identity):
        raise FusionError("a block with a gate cannot run as one kernel: the gate reads the whole map first")
    grouped, expand, project = (_folded(part) for part in (block.grouped, block.expand, block.project))
    conv = block.grouped.conv
    kernel, stride, groups = conv.kernel_size[0], conv.stride[0], conv.groups
    margin = kernel // 2
    height, width = (-(-size // stride) for size in x.shape[2:])
    y = x.new_empty(len(x), project[0].shape[0], height, width)
    padded = F.pad(x, (margin,) * 4)
    read = workspace = 0
    for top, left in product(range(0, height, tile), range(0, width, tile)):
        rows, columns = min(tile, height - top), min(tile, width - left)
        window = padded[:, :, top * stride :, left * stride :]
        window = window[:, :, : (rows - 1) * stride + kernel, : (columns - 1) * stride + kernel]
        local = F.conv2d(window, *grouped, stride=stride, groups=groups)
        sums = project[1].view(1, -1, 1, 1).expand(len(x), -1, rows, columns).clone()
        for start in range(0, len(expand[0]), chunk):
            part = slice(start, start + chunk)
            hidden = block.expand.act(F.conv2d(local, expand[0][part], expand[1][part]))
            sums += F.conv2d(hidden, project[0][:, part])
        if block.shortcut:
            sums += window[:, :, margin : margin + rows, margin : margin + columns]
        y[:, :, top : top + rows, left : left + columns] = sums
        read += x.element_size() * len(x) * x.shape[1] * _inside(window.shape[2:], (top, left), stride, margin, x)
        workspace = max(workspace, x.element_size() * (local[0].numel() + hidden[0].numel() + sums[0].numel()))
    weights = sum(t.numel() * t.element_size() for part in (grouped, expand, project) for t in part)
    return Tiled(y, read, y.numel() * y.element_size(), weights, workspace)


def _inside(window: Sequence[int], start: tuple[int, int], stride: int, margin: int, x: Tensor) -> int:
    """Positions of a window that lie inside the map; the others are padding, which nobody reads."""
    spans = (
        min(size, first * stride - margin + extent) - max(0, first * stride - margin)
        for extent, first, size in zip(window, start, x.shape[2:], strict=True)
    )
    return math.prod(spans)


def _folded(layer: nn.Sequential) -> tuple[Tensor, Tensor]:
    """Weight and bias of a convolution with its batch norm folded in."""
    conv, norm = layer.conv, layer.norm
    assert isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
    fused = torch.nn.utils.fuse_conv_bn_eval(conv, norm)
    assert fused.bias is not None
    return fused.weight.detach(), fused.bias.detach()


def halo_bytes(spec: ConvFirst, x: Feature, tile: int) -> int:
    """Bytes of the input that tiles read beyond one reading of the whole: their windows overlap.

    Negative where a stride larger than the kernel leaves positions out.
    """
    spans = [
        sum(
            min(size, (min(first + tile, -(-size // spec.stride)) - 1) * spec.stride + spec.kernel // 2 + 1)
            - max(0, first * spec.stride - spec.kernel // 2)
            for first in range(0, -(-size // spec.stride), tile)
        )
        for size in x.size
    ]
    return 4 * x.channels * (math.prod(spans) - math.prod(x.size))


def tiled_kernel(spec: ConvFirst, x: Feature, tile: int, batch: int = 1) -> Kernel:
    """The block as one tiled kernel: input with halo, output, and folded weights.

    Raises:
        FusionError: the block has a gate.
    """
    if spec.gate is not None:
        raise FusionError("a block with a gate cannot run as one kernel: the gate reads the whole map first")
    block = spec.build(x)
    assert isinstance(block, ConvFirstBlock)
    (whole,) = module_kernels(block, x, "block", batch)
    weights = sum(
        part.conv.weight.numel() + part.conv.out_channels for part in (block.grouped, block.expand, block.project)
    )
    moved = whole.activation_bytes + batch * halo_bytes(spec, x, tile)
    return Kernel("ConvFirst, tiled", "block", whole.flops, 4 * weights, moved)

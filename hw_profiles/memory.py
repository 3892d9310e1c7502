"""Peak activation memory of a network as it is deployed, and what the runtime's allocator says about it.

`Cost.peak_bytes` is read off the network in torch. Here it is counted on the exported ONNX graph, where nobody wrote
`relu_` and a runtime may overwrite what nobody reads any more; and beside it stands the most that the allocator handed
out, which is what a device really has to have: constant folding and fusion lower it, padded channels raise it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from .liveness import NONE, Buffers, Timeline

VIEWS = frozenset(("Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity", "Dropout"))
"""Nodes whose result lies where their first input lies."""

OVERWRITING = frozenset(
    """
    Abs Add And Cast Ceil Celu Clip Cos Div Elu Erf Exp Floor Gelu HardSigmoid HardSwish LeakyRelu Log Max Min Mish Mul
    Neg Not Or PRelu Pow Reciprocal Relu Round Selu Sigmoid Sign Sin Softmax Softplus Softsign Sqrt Sub Sum Tan Tanh
    Where Xor
    """.split()  # noqa: SIM905 - a table, not a list of strings
)
"""Nodes that can write where an input of theirs lies: every result needs one element of it, or is computed row by row."""


@dataclass(frozen=True)
class Memory:
    """Peak activation memory of one inference in bytes.

    Args:
        exported: of the exported graph, its input included, every result in a buffer of its own.
        in_place: of the same graph when nodes write over an input that nobody reads any more.
        allocator: the most that the runtime's allocator handed out; the input, which the caller holds, is not in it.
            None where the runtime does not say.
    """

    exported: int
    in_place: int
    allocator: int | None = None

    def to_dict(self) -> dict[str, int | None]:
        """Plain data."""
        return asdict(self)


def onnx_peak_bytes(graph: Any, sizes: Mapping[str, int], *, in_place: bool) -> int:
    """The most activation bytes alive at once while the nodes of an ONNX graph run in its order.

    Args:
        graph: of an ONNX model; its initialisers, and what is computed from them alone, are weights and not counted.
        sizes: bytes of every tensor.
        in_place: let a node write over an input that nobody reads any more, where its operator can and sizes agree.
    """
    weights = {tensor.name for tensor in graph.initializer}
    wanted = {name: step for step, node in enumerate(graph.node) for name in node.input}
    wanted |= {value.name: len(graph.node) for value in graph.output}
    timeline = Timeline()
    behind: dict[str, Buffers] = {
        value.name: timeline.enter(sizes[value.name]) for value in graph.input if value.name not in weights
    }
    for step, node in enumerate(graph.node):
        read = NONE.union(*(behind.get(name, NONE) for name in node.input))
        if not read:
            continue  # computed from weights alone, as every runtime does before the first inference
        if node.op_type in VIEWS:
            behind[node.output[0]] = behind.get(node.input[0], NONE)
            continue
        place = _overwritten(node, step, wanted, behind, sizes) if in_place else None
        if place is not None:
            timeline.step(read)
            behind[node.output[0]] = place
            continue
        results = [name for name in node.output if name and name in wanted]
        behind.update(zip(results, timeline.step(read, *(sizes[name] for name in results)), strict=True))
    return timeline.peak(NONE.union(*(behind.get(value.name, NONE) for value in graph.output)))


def _overwritten(
    node: Any, step: int, wanted: Mapping[str, int], behind: Mapping[str, Buffers], sizes: Mapping[str, int]
) -> Buffers | None:
    """The buffer that a node writes over: of an input as large as its result that nobody reads after it."""
    if node.op_type not in OVERWRITING:
        return None
    for name in node.input:
        place = behind.get(name, NONE)
        last = all(wanted.get(other, -1) <= step for other, lies in behind.items() if lies & place)
        if place and last and sizes[name] == sizes[node.output[0]]:
            return place
    return None


def cuda_allocator_bytes(module: nn.Module, inputs: tuple[Any, ...]) -> int | None:
    """The most that torch's allocator hands out for activations in one call in eager mode; None without CUDA.

    Counts what the module is fed and every result, not the weights; blocks are multiples of 512 bytes.
    """
    if not torch.cuda.is_available():
        return None
    module = module.cuda().eval()
    moved = torch.utils._pytree.tree_map(lambda x: x.cuda() if isinstance(x, torch.Tensor) else x, inputs)
    with torch.inference_mode():
        module(*moved)  # the first call sets libraries up, whose workspaces are no activations
        torch.cuda.synchronize()
        workspace = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        module(*moved)
        torch.cuda.synchronize()
    given: int = sum(t.numel() * t.element_size() for t in torch.utils._pytree.tree_leaves(moved))
    peak: int = torch.cuda.max_memory_allocated()
    return peak - workspace + given

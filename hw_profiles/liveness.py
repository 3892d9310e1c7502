"""Peak activation memory and unused weights of a module, read off its traced graph.

A buffer comes to life with the operator that writes it and dies after the last one that reads it; the inputs of the
module are alive from the start, its outputs to the end. While an operator runs, what it reads and what it writes are
alive together: nothing is overwritten unless the module says so (`relu_`). Views and changes of layout share the buffer
of their source, so the result does not depend on strides. Weights, constants and single numbers are not counted. Fused
attention counts as the product, softmax and product that it stands for, so that writing it out changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor, nn
from torch.jit._trace import _get_trace_graph

from .operators import Value, attention_scores, numel, shape

Buffers = frozenset[int]
"""Numbers of buffers in a `Timeline`: none for weights and plain numbers, several for a list of tensors."""

NONE: Buffers = frozenset()

_PACKING = ("prim::ListConstruct", "prim::TupleConstruct", "prim::ListUnpack", "prim::TupleUnpack")
_DROPOUTS = ("aten::dropout", "aten::feature_dropout", "aten::alpha_dropout", "aten::feature_alpha_dropout")


def trace(module: nn.Module, inputs: tuple[Tensor, ...]) -> Any:
    """The graph of one forward pass in torch's public operators: the module's inputs, then its weights, come first."""
    graph, _ = _get_trace_graph(module, inputs)  # type: ignore[no-untyped-call] # as fvcore does
    return graph


def unused_parameters(module: nn.Module, graph: Any, inputs: int) -> list[str]:
    """The names of the parameters that the traced forward pass never reads; the module takes `inputs` tensors."""
    tensors: dict[int, tuple[str, Tensor]] = {}
    for name, tensor in module.state_dict(keep_vars=True).items():
        tensors.setdefault(id(tensor), (name, tensor))
    values = list(graph.inputs())[inputs:]
    return [
        name
        for (name, tensor), value in zip(tensors.values(), values, strict=True)
        if isinstance(tensor, nn.Parameter) and not value.uses()
    ]


def peak_bytes(graph: Any, inputs: int) -> int:
    """The most activation bytes alive at once in a traced graph whose first `inputs` values are the module's inputs."""
    timeline = Timeline()
    behind: dict[int, Buffers] = {}
    for value in list(graph.inputs())[:inputs]:
        behind[value.unique()] = timeline.enter(_bytes(value))
    for node in graph.nodes():
        behind.update(_run(node, behind, timeline))
    return timeline.peak(_behind(graph.outputs(), behind))


class Timeline:
    """When each buffer is written and last read, in steps."""

    def __init__(self) -> None:
        self.steps = 0
        self._sizes: list[int] = []
        self._born: list[int] = []
        self._last: list[int] = []

    def enter(self, size: int) -> Buffers:
        """A new buffer of `size` bytes, alive from the coming step."""
        self._sizes.append(size)
        self._born.append(self.steps)
        self._last.append(self.steps)
        return frozenset((len(self._sizes) - 1,))

    def step(self, reads: Buffers, *sizes: int) -> list[Buffers]:
        """One step that reads buffers and writes new ones, which it returns."""
        written = [self.enter(size) for size in sizes]
        self._keep(reads)
        self.steps += 1
        return written

    def peak(self, outputs: Buffers) -> int:
        """The most bytes alive at one step, when `outputs` live on to the end."""
        self.steps = max(self.steps - 1, 0)
        self._keep(outputs)
        change = [0] * (self.steps + 2)
        for size, born, last in zip(self._sizes, self._born, self._last, strict=True):
            change[born] += size
            change[last + 1] -= size
        return max(accumulate(change))

    def _keep(self, buffers: Buffers) -> None:
        for buffer in buffers:
            self._last[buffer] = self.steps


def _run(node: Any, behind: dict[int, Buffers], timeline: Timeline) -> Iterator[tuple[int, Buffers]]:
    """Let an operator take its steps; yields, for its outputs, the buffers that they lie in."""
    kind = node.kind()
    if kind in _PACKING:
        yield from _share(node, [True] * node.inputsSize(), behind)
    elif kind in _DROPOUTS and node.inputsAt(2).toIValue() is False:
        yield from _share(node, [True, False, False], behind)
    elif kind == "prim::PythonOp":
        yield from _compute(node, behind, timeline)
    elif not kind.startswith("prim::"):
        sources, shares, writes = _aliases(node.schema())
        if shares and writes:
            timeline.step(_behind(node.inputs(), behind))
        if shares:
            yield from _share(node, sources, behind)
        elif any(value.isCompleteTensor() for value in results(node)):
            yield from _compute(node, behind, timeline)


def only_views(node: Any) -> bool:
    """Whether an operator computes nothing: its results lie where its inputs lie, and it does not write there."""
    kind = node.kind()
    if kind in _PACKING or (kind in _DROPOUTS and node.inputsAt(2).toIValue() is False):
        return True
    if kind.startswith("prim::"):
        return False
    _, shares, writes = _aliases(node.schema())
    return shares and not writes


def _share(node: Any, sources: list[bool], behind: dict[int, Buffers]) -> Iterator[tuple[int, Buffers]]:
    """The outputs lie where the inputs marked in `sources` lie; an output that has its place already keeps it."""
    place = _behind((value for value, source in zip(node.inputs(), sources, strict=True) if source), behind)
    for value in node.outputs():
        yield value.unique(), behind.get(value.unique(), place)


def _compute(node: Any, behind: dict[int, Buffers], timeline: Timeline) -> Iterator[tuple[int, Buffers]]:
    """The outputs get buffers of their own."""
    reads = _behind(node.inputs(), behind)
    if node.kind() == "aten::scaled_dot_product_attention":
        reads = _attend(node, behind, timeline)
    found = [value for value in results(node) if shape(value)]
    written = timeline.step(reads, *map(_bytes, found))
    yield from zip((value.unique() for value in found), written, strict=True)


def _attend(node: Any, behind: dict[int, Buffers], timeline: Timeline) -> Buffers:
    """Scores = query·keyᵀ, weights = softmax(scores + mask); returns what the last step, weights·value, reads."""
    inputs = list(node.inputs())
    size = attention_scores(inputs, list(node.outputs())) * int(inputs[0].type().dtype().itemsize)
    (scores,) = timeline.step(_behind(inputs[:2], behind), size)
    (weights,) = timeline.step(scores | _behind(inputs[3:], behind), size)
    return weights | _behind(inputs[2:3], behind)


def results(node: Any) -> Iterator[Value]:
    """The tensors that an operator returns, those in lists once they are unpacked."""
    for value in node.outputs():
        if value.isCompleteTensor():
            yield value
        for use in value.uses():
            if use.user.kind() in ("prim::ListUnpack", "prim::TupleUnpack"):
                yield from use.user.outputs()


@cache
def _aliases(schema: str) -> tuple[list[bool], bool, bool]:
    """Which arguments the results of an operator lie in, whether they do at all, and whether it writes to them."""
    parsed = torch._C.parse_schema(schema)
    infos = [returned.alias_info for returned in parsed.returns if returned.alias_info is not None]
    sources = [argument.alias_info is not None for argument in parsed.arguments]
    return sources, bool(infos), any(info.is_write for info in infos)


def _behind(values: Any, behind: dict[int, Buffers]) -> Buffers:
    return NONE.union(*(behind.get(value.unique(), NONE) for value in values))


def _bytes(value: Value) -> int:
    return numel(value) * int(value.type().dtype().itemsize)

"""What ONNX Runtime spends on every node that it executes: seconds, operations and bytes, from its own profiler.

The runtime rewrites a network before it runs it: normalisations are folded, activations fused, channels padded to what
the vector unit takes. Seconds and bytes are therefore those of the nodes that really run; operations are those of the
network as it was exported, so that work on padding counts as inefficiency and not as work.
"""

from __future__ import annotations

import json
import math
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from . import worker
from .memory import Memory, onnx_peak_bytes
from .profile import LatencyError

Shape = tuple[int, ...]

MINIMUM_RUNS, MAXIMUM_EVENTS = 5, 400_000
PADDING = 16
"""Channels that a vector unit takes at once, at most: how far the runtime pads."""


@dataclass(frozen=True)
class NodeTime:
    """One node of the network as the runtime executes it.

    Args:
        name, operator: as the runtime calls them.
        seconds: its fastest run, while the profiler was on.
        flops: operations of its convolution or matrix product, two for every multiply-add; 0 for nodes without one,
            None where the operator is not known.
        weight_bytes: of its constants.
        activation_bytes: of what it reads and writes besides.
        output: shape of its first result.
        kernel: shape of the weights of a convolution, () of other nodes.
    """

    name: str
    operator: str
    seconds: float
    flops: int | None
    weight_bytes: int
    activation_bytes: int
    output: Shape = ()
    kernel: Shape = ()


@dataclass(frozen=True)
class Executed:
    """A network as the runtime executes it, in order.

    Args:
        nodes: that run.
        memory: peak activation memory, of the network as it was exported and as the runtime's allocator saw it.
    """

    nodes: tuple[NodeTime, ...]
    memory: Memory

    @property
    def uncounted(self) -> tuple[str, ...]:
        """Operators whose operations are not known, each once."""
        return tuple(sorted({node.operator for node in self.nodes if node.flops is None}))


def profile_nodes(file: Path, threads: int, provider: str = "CPUExecutionProvider", seconds: float = 1.0) -> Executed:
    """Run the network in an ONNX file with the runtime's profiler on.

    Args:
        file: the exported network; its inputs have fixed shapes.
        threads: that compute.
        provider: the back end inside the runtime.
        seconds: about how long; five runs at least.

    Raises:
        LatencyError: the profiler's record lacks what is needed.
    """
    exported = _record(file, threads, "CPUExecutionProvider", 0.0, optimised=False)
    executed = _record(file, threads, provider, seconds, optimised=True)
    sizes = exported.tensor_bytes()
    memory = Memory(
        exported=onnx_peak_bytes(exported.graph, sizes, in_place=False),
        in_place=onnx_peak_bytes(exported.graph, sizes, in_place=True),
        allocator=executed.allocator_bytes(),
    )
    return Executed(tuple(unpadded(list(executed.nodes()), exported.nodes())), memory)


def unpadded(executed: Sequence[NodeTime], exported: Iterable[NodeTime]) -> list[NodeTime]:
    """The executed nodes with the operations of the exported convolutions that they stand for.

    A convolution with padded channels stands for the first one left with its kernel and output size that padding can
    have made so wide; every exported one is used once, so that the operations of the network stay exact. Convolutions
    beyond the exported ones are normalisations that the runtime writes so: they are no work of the network.
    """
    left = [node for node in exported if node.flops and node.kernel]
    stands_for: dict[str, int] = {}
    for node in executed:
        match = next((other for other in left if node.kernel and _pads(node, other)), None)
        if match is not None:
            left.remove(match)
            stands_for[node.name] = match.flops or 0
    beyond = {} if left else {node.name: 0 for node in executed if node.kernel}
    known = beyond | stands_for
    return [replace(node, flops=known.get(node.name, node.flops)) for node in executed]


def _pads(node: NodeTime, exported: NodeTime) -> bool:
    same = node.kernel[2:] == exported.kernel[2:] and node.output[2:] == exported.output[2:]
    wider = (a - b for a, b in zip(node.kernel[:2], exported.kernel[:2], strict=True))
    return same and all(0 <= more < PADDING for more in wider)


# --------------------------------------------------------------------------- running

_KERNEL = "_kernel_time"


@dataclass(frozen=True)
class _Record:
    """The graph that the runtime executed, and what its profiler wrote down about the nodes, run after run."""

    graph: Any
    events: Sequence[Mapping[str, Any]]

    def nodes(self) -> Iterator[NodeTime]:
        """The nodes in order, the time of each that of its fastest run."""
        fastest: dict[str, Mapping[str, Any]] = {}
        for event in self.events:
            name = event["name"].removesuffix(_KERNEL)
            if name not in fastest or event["dur"] < fastest[name]["dur"]:
                fastest[name] = event
        constants = {tensor.name: tensor for tensor in self.graph.initializer}
        shapes: dict[str, Shape] = {name: tuple(tensor.dims) for name, tensor in constants.items()}
        shapes |= {value.name: _fixed(value) for value in self.graph.input}
        for name, event in fastest.items():
            node = self._named[name]
            shapes.update((output, shape) for output, (_, shape) in _results(node, event))
            yield _node_time(node, event, shapes, sum(_bytes(constants[i]) for i in node.input if i in constants))

    def tensor_bytes(self) -> dict[str, int]:
        """The size of every tensor that the graph is fed or computes."""
        sizes = {value.name: _bytes_of(_fixed(value), value.type.tensor_type.elem_type) for value in self.graph.input}
        for event in self._first_run:
            node = self._named[event["name"].removesuffix(_KERNEL)]
            sizes.update((output, _ITEMS[kind] * math.prod(shape)) for output, (kind, shape) in _results(node, event))
        return sizes

    def allocator_bytes(self) -> int | None:
        """The most that nodes had requested of the allocator at once, beyond what was in use before the first.

        Counted in the first run: from the second one on, the runtime asks for all of a run's memory in one piece.
        """
        first = [event["args"] for event in self._first_run]
        if "mem_bytes_requested_in_use" not in first[0]:
            return None
        in_use = [int(args["mem_bytes_requested_in_use"]) for args in first]
        return max(in_use) - (in_use[0] - int(first[0]["mem_requested_in_use_delta"]))

    @property
    def _first_run(self) -> Sequence[Mapping[str, Any]]:
        return self.events[: len({event["name"] for event in self.events})]

    @cached_property
    def _named(self) -> dict[str, Any]:
        return {node.name: node for node in self.graph.node}


def _record(file: Path, threads: int, provider: str, seconds: float, *, optimised: bool) -> _Record:
    import onnx
    import onnxruntime

    with tempfile.TemporaryDirectory(prefix="archfront-profile-") as name:
        folder = Path(name)
        options = worker.session_options(threads)
        options.enable_profiling = True
        options.profile_file_prefix = str(folder / "profile")
        options.optimized_model_filepath = str(folder / "executed.onnx")
        if not optimised:
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        session = onnxruntime.InferenceSession(str(file), options, providers=[provider])
        graph = onnx.load(folder / "executed.onnx").graph
        feed = _feed(session)
        start, runs, most = time.perf_counter(), 0, MAXIMUM_EVENTS // len(graph.node)
        while runs < (MINIMUM_RUNS if optimised else 1) or (time.perf_counter() - start < seconds and runs < most):
            session.run(None, feed)
            runs += 1
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    timed = [event for event in events if event.get("cat") == "Node" and event["name"].endswith(_KERNEL)]
    unknown = {event["name"].removesuffix(_KERNEL) for event in timed} - {node.name for node in graph.node}
    if unknown or not timed:
        raise LatencyError(
            f"the profiler of ONNX Runtime timed {sorted(unknown) or 'nothing'}; its graph has no such node"
        )
    return _Record(graph, timed)


def _feed(session: Any) -> dict[str, Any]:
    import numpy as np

    draw = np.random.default_rng(0)
    kinds = {"tensor(float)": np.float32, "tensor(float16)": np.float16}
    return {i.name: draw.standard_normal(i.shape).astype(kinds[i.type]) for i in session.get_inputs()}


def _fixed(value: Any) -> Shape:
    return tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)


_ITEMS = {"float": 4, "double": 8, "float16": 2, "bfloat16": 2, "bool": 1} | {
    f"{sign}int{bits}": bits // 8 for sign in ("", "u") for bits in (8, 16, 32, 64)
}
"""Bytes of an element, by the name that the profiler gives to its type."""


def _results(node: Any, event: Mapping[str, Any]) -> Iterator[tuple[str, tuple[str, Shape]]]:
    """The results of a node that somebody reads: name, type and shape."""
    types = [(kind, tuple(shape)) for typed in event["args"]["output_type_shape"] for kind, shape in typed.items()]
    return zip((output for output in node.output if output), types, strict=True)


def _node_time(node: Any, event: Mapping[str, Any], shapes: Mapping[str, Shape], weight_bytes: int) -> NodeTime:
    args = event["args"]
    inputs = [shapes.get(name, ()) for name in node.input]
    output = shapes.get(node.output[0], ())
    return NodeTime(
        name=node.name,
        operator=node.op_type,
        seconds=event["dur"] / 1e6,
        flops=flops(node.op_type, inputs, output, _attributes(node)),
        weight_bytes=weight_bytes,
        activation_bytes=moved(node.op_type, int(args["activation_size"]), int(args["output_size"])),
        output=output,
        kernel=inputs[_WEIGHTS[node.op_type]] if node.op_type in _WEIGHTS else (),
    )


def _attributes(node: Any) -> dict[str, Any]:
    from onnx import helper

    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}


def _bytes(tensor: Any) -> int:
    return _bytes_of(tensor.dims, tensor.data_type)


def _bytes_of(shape: Iterable[int], kind: int) -> int:
    from onnx import helper

    return math.prod(shape) * int(helper.tensor_dtype_to_np_dtype(kind).itemsize)


# --------------------------------------------------------------------------- operators

_WEIGHTS = {"Conv": 1, "FusedConv": 1, "ConvInteger": 1, "QLinearConv": 3, "ConvTranspose": 1}
"""Convolutions, and which of their inputs holds the weights."""

_FACTORS = {
    "MatMul": (0, 1), "FusedMatMul": (0, 1), "MatMulInteger": (0, 1), "MatMulIntegerToFloat": (0, 1),
    "DynamicQuantizeMatMul": (0, 1), "QLinearMatMul": (0, 3), "Gemm": (0, 1), "FusedGemm": (0, 1), "QGemm": (0, 3),
}  # fmt: skip
"""Matrix products, and which of their inputs are multiplied."""

_VIEWS = frozenset(("Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity", "Dropout", "Shape", "Size", "Constant"))
"""Nodes that move nothing: their result lies where their input lies, or is a few numbers."""

_PICKS = frozenset(("Slice", "Gather", "GatherElements", "GatherND", "Expand", "Tile"))
"""Nodes that read no more than they write."""

_FREE = _VIEWS | _PICKS | frozenset(
    """
    Abs Acos Add And ArgMax ArgMin Asin Atan AveragePool BatchNormalization BiasGelu BiasSoftmax BiasSplitGelu Cast
    Ceil Celu Clip Concat ConstantOfShape Cos CumSum DepthToSpace DequantizeLinear Div DynamicQuantizeLinear Elu Equal
    Erf Exp EyeLike FastGelu Floor FusedActivation Gelu GlobalAveragePool GlobalMaxPool Greater GreaterOrEqual GridSample
    GroupNorm GroupNormalization HardSigmoid HardSwish InstanceNormalization LayerNormalization LeakyRelu Less
    LessOrEqual Log LogSoftmax LpNormalization LpPool LRN Max MaxPool Mean Min Mish Mod Mul Neg NhwcMaxPool Not OneHot Or
    PRelu Pad Pow QLinearAdd QLinearAveragePool QLinearConcat QLinearGlobalAveragePool QLinearLeakyRelu QLinearMul QLinearSigmoid
    QLinearSoftmax QuantizeLinear QuickGelu Range Reciprocal ReduceL1 ReduceL2 ReduceLogSumExp ReduceMax ReduceMean
    ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu ReorderInput ReorderOutput Resize ReverseSequence RMSNormalization
    Round ScatterElements ScatterND Selu Sigmoid Sign Sin SkipLayerNormalization SimplifiedLayerNormalization Softmax
    Softplus Softsign SpaceToDepth Split Sqrt Sub Sum Tan Tanh TopK Transpose Trilu Upsample Where Xor
    """.split()  # noqa: SIM905 - a table, not a list of strings
)  # fmt: skip
"""Operators without a convolution or matrix product: what they cost is moving data."""


def flops(operator: str, inputs: Sequence[Shape], output: Shape, attributes: Mapping[str, Any]) -> int | None:
    """Operations of one node of the ONNX graph, two for every multiply-add; None for operators that are not known.

    Args:
        operator: its type in ONNX or among ONNX Runtime's own operators.
        inputs: the shapes of its inputs in order, () for what is missing.
        output: the shape of its first result.
        attributes: of the node.
    """
    if operator in _FREE:
        return 0
    if operator in _WEIGHTS:
        positions = inputs[0] if operator == "ConvTranspose" else output
        return 2 * math.prod(positions) * math.prod(inputs[_WEIGHTS[operator]][1:])
    if operator in _FACTORS:
        first = inputs[_FACTORS[operator][0]]
        summed = first[-2] if attributes.get("transA") and len(first) > 1 else first[-1]
        return 2 * math.prod(output) * summed
    if operator == "Einsum" and len(inputs) == 2:
        return 2 * math.prod(einsum_sizes(attributes["equation"].decode(), inputs).values())
    return None


def einsum_sizes(equation: str, inputs: Sequence[Shape]) -> dict[str, int]:
    """The size of every index of an einsum; an ellipsis counts as the dimensions that it stands for."""
    terms = equation.replace(" ", "").partition("->")[0].split(",")
    sizes: dict[str, int] = {}
    for term, shape in zip(terms, inputs, strict=True):
        before, dots, after = term.partition("...")
        letters = [*before, *(f"...{i}" for i in range(len(before) + len(after) - len(shape), 0) if dots), *after]
        for letter, size in zip(letters, shape, strict=True):
            sizes[letter] = max(size, sizes.get(letter, 1))
    return sizes


def moved(operator: str, read: int, written: int) -> int:
    """Bytes of activations that a node moves, from the sizes of what it is given and what it yields."""
    if operator in _VIEWS:
        return 0
    return (min(read, written) if operator in _PICKS else read) + written


# --------------------------------------------------------------------------- the price of a call


@dataclass(frozen=True)
class CallCost:
    """What ONNX Runtime takes besides computing: seconds a call, and seconds a node in it."""

    call: float
    node: float

    def of(self, nodes: int) -> float:
        """Seconds of one inference of a network with so many nodes."""
        return self.call + self.node * nodes


def call_cost(threads: int = 1, length: int = 64, seconds: float = 0.5) -> CallCost:
    """Time two chains of nodes that compute one number each, of one node and of `length` more."""
    one, many = _chain(1, threads), _chain(1 + length, threads)
    best = [math.inf, math.inf]
    start = time.perf_counter()
    while time.perf_counter() - start < seconds:
        for index, session in enumerate((one, many)):
            begin = time.perf_counter()
            session()
            best[index] = min(best[index], time.perf_counter() - begin)
    node = max(0.0, (best[1] - best[0]) / length)
    return CallCost(max(0.0, best[0] - node), node)


def _chain(length: int, threads: int) -> worker.Session:
    import numpy as np
    import onnx
    import onnxruntime
    from onnx import helper

    nodes = [helper.make_node("Neg", [f"t{i}"], [f"t{i + 1}"]) for i in range(length)]
    ends = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, (1,)) for name in ("t0", f"t{length}")]
    graph = helper.make_graph(nodes, "chain", ends[:1], ends[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), worker.session_options(threads), providers=["CPUExecutionProvider"]
    )
    feed = {"t0": np.ones(1, np.float32)}
    return lambda: session.run(None, feed)

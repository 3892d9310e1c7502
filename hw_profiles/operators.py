"""What one operator costs.

The convention is fvcore's: the unit is one multiply-add, and what a runtime fuses into its neighbours is free.

- Convolutions, matrix products, attention, recurrent cells: exact multiply-adds (`contractions`).
- Normalisation: 5 an element (4 without affine parameters), batch normalisation in evaluation mode 2 (1).
- Resampling: one for every source element that an output element reads (bilinear 4, bicubic 16).
- Reductions and average pooling: one for every element added up. A weighted sum written as a product and a sum thus
  costs as much as the same sum written as an einsum, though only the latter is a contraction.
- Fourier transforms: a model, not a count: 2.5 N log2 N multiply-adds for N complex points, half of it for real ones.
- Elementwise arithmetic, activation functions, softmax, comparisons, maxima, biases, indexing, views and copies: free.

fvcore's own handlers do the counting, except where they are wrong or refuse: einsum (rounded to four digits), matmul
of broadcast batches, normalisation of more than five dimensions, sampling modes other than bilinear. Every operator
without a cost is an error that names it (`counting`).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from archfront.space.errors import ArchfrontError

Value = Any
"""A `torch._C.Value` of a traced graph: an argument or a result of an operator."""

Tally = Counter[str]
"""Counts under the keys "macs", "contractions" and "activations"."""

Handle = Callable[[list[Value], list[Value]], Tally]


class CostError(ArchfrontError):
    """A module that cannot be counted exactly: an operator has no known cost, or weights are never used."""


FREE_OPERATORS = frozenset(
    f"aten::{name}{suffix}"
    for suffix in ("", "_")
    for name in """
    abs absolute add addcdiv ceil clamp clamp_max clamp_min clip copysign cos cosh deg2rad div divide
    erf erfc exp exp2 expm1 floor floor_divide fmod frac frexp hypot ldexp lerp log log10 log1p log2 logaddexp
    logaddexp2 logit maximum minimum fmax fmin mul multiply nan_to_num neg negative positive pow float_power
    reciprocal remainder round rsqrt rsub sgn sign sin sinc sinh sqrt square sub subtract tan tanh trunc
    true_divide atan atan2 asin acos xlogy outer ger diff

    celu elu gelu glu hardshrink hardsigmoid hardswish hardtanh leaky_relu log_sigmoid log_softmax logsumexp
    mish prelu relu relu6 rrelu selu sigmoid silu softmax _softmax softplus softshrink
    special_expit threshold feature_dropout dropout alpha_dropout feature_alpha_dropout

    all allclose any argmax argmin argsort aminmax amax amin bitwise_and bitwise_not bitwise_or bitwise_xor
    cummax cummin eq equal ge greater greater_equal gt isfinite isinf isnan kthvalue le less less_equal
    logical_and logical_not logical_or logical_xor lt max median min msort ne not_equal searchsorted bucketize
    sort topk where _unique2 max_pool1d max_pool2d max_pool3d max_pool1d_with_indices
    max_pool2d_with_indices max_pool3d_with_indices adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d
    fractional_max_pool2d max_unpool2d max_unpool3d

    affine_grid_generator alias arange as_strided atleast_1d atleast_2d atleast_3d bernoulli block_diag
    broadcast_tensors broadcast_to cartesian_prod cat channel_shuffle chunk clone col2im column_stack complex
    concat concatenate constant_pad_nd contiguous copy conj _conj conj_physical resolve_conj resolve_neg detach
    diag diag_embed diagonal dsplit dstack embedding empty empty_like expand expand_as eye fft_fftfreq
    fft_fftshift fft_ifftshift fft_rfftfreq fill flatten flip fliplr flipud full full_like gather hsplit hstack
    im2col imag index index_add index_copy index_fill index_put index_select lift_fresh linspace masked_fill
    masked_scatter masked_select meshgrid moveaxis movedim narrow native_channel_shuffle new_empty new_full
    new_ones new_zeros nonzero nonzero_numpy numpy_T matrix_H mH mT adjoint one_hot ones ones_like pad permute
    pixel_shuffle pixel_unshuffle polar angle rand rand_like randint randn randn_like randperm ravel real
    reflection_pad1d reflection_pad2d reflection_pad3d repeat repeat_interleave replication_pad1d
    replication_pad2d replication_pad3d reshape reshape_as roll rot90 row_stack scalar_tensor scatter
    scatter_add scatter_reduce select select_scatter slice slice_scatter split split_with_sizes squeeze stack
    swapaxes swapdims t take take_along_dim tensor_split tile to transpose tril tril_indices triu triu_indices
    type_as unbind unflatten unfold unsafe_chunk unsafe_split unsqueeze view view_as view_as_complex
    view_as_real vsplit vstack zero zeros zeros_like _cast_Float

    Bool Float Int IntImplicit FloatImplicit ScalarImplicit Complex dim device item is_floating_point is_complex
    len numel size sym_size stride __and__ __or__ __xor__ __not__ __is__ __isnot__ __getitem__ warn
    """.split()  # noqa: SIM905 - a table, not a list of strings
)
"""Operators that do no multiply-adds in this convention, in place or not."""

_REDUCTIONS = {
    "sum": 1, "nansum": 1, "mean": 1, "nanmean": 1, "prod": 1, "cumsum": 1, "cumprod": 1, "norm": 1,
    "frobenius_norm": 1, "linalg_norm": 1, "linalg_vector_norm": 1, "adaptive_avg_pool1d": 1, "adaptive_avg_pool2d": 1,
    "adaptive_avg_pool3d": 1, "var": 2, "std": 2, "var_mean": 2, "std_mean": 2,
}  # fmt: skip

_RESAMPLINGS = {
    "upsample_nearest1d": 1, "upsample_nearest2d": 1, "upsample_nearest3d": 1, "_upsample_nearest_exact1d": 1,
    "_upsample_nearest_exact2d": 1, "_upsample_nearest_exact3d": 1, "upsample_linear1d": 2, "upsample_bilinear2d": 4,
    "upsample_trilinear3d": 8, "upsample_bicubic2d": 16,
}  # fmt: skip

_AS_TORCH_RUNS = ("einsum", "tensordot", "lstm", "gru", "rnn_tanh", "rnn_relu")


def shape(value: Value) -> tuple[int, ...] | None:
    """The shape of a tensor of the graph; None for anything else."""
    return tuple(value.type().sizes()) if value.isCompleteTensor() else None


def numel(value: Value) -> int:
    """The number of elements of a tensor of the graph."""
    return math.prod(value.type().sizes())


def constant(value: Value) -> Any:
    """What a value that is no tensor holds, looking through the sizes that tracing leaves in the graph."""
    node = value.node()
    kind, inputs = node.kind(), list(node.inputs())
    if kind == "prim::Constant":
        return value.toIValue()
    if kind == "prim::ListConstruct":
        return [argument(item) for item in inputs]
    if kind in ("aten::Int", "prim::NumToTensor"):
        return constant(inputs[0])
    if kind == "aten::size" and len(inputs) == 2:
        return inputs[0].type().sizes()[constant(inputs[1])]
    raise CostError(f"cannot tell a value that {kind} computes while the module runs; write it as a constant")


def argument(value: Value) -> Any:
    """An argument as a cost function gets it: a tensor as its shape (a tuple), else a list or a plain value."""
    return shape(value) if value.isCompleteTensor() else constant(value)


def other(macs: int) -> Tally:
    """The count of an operator that is no contraction."""
    return Counter(macs=int(macs))


def contraction(macs: int, activations: int) -> Tally:
    """The count of a convolution or matrix product with so many result elements."""
    return Counter(macs=int(macs), contractions=int(macs), activations=activations)


def _fvcore_contraction(handle: Callable[..., Any]) -> Handle:
    """A handler of fvcore's for a convolution or product; fvcore's activations are the elements of its result."""

    def count(inputs: list[Value], outputs: list[Value]) -> Tally:
        counted = handle(inputs, outputs)
        return contraction(counted.total() if isinstance(counted, Counter) else counted, numel(outputs[0]))

    return count


def _inner_product(operand: int) -> Handle:
    """A product whose every result element sums over the last dimension of one operand."""

    def count(inputs: list[Value], outputs: list[Value]) -> Tally:
        elements = numel(outputs[0])
        return contraction(elements * inputs[operand].type().sizes()[-1], elements)

    return count


def _bilinear(inputs: list[Value], outputs: list[Value]) -> Tally:
    elements = numel(outputs[0])
    return contraction(elements * math.prod(v.type().sizes()[-1] for v in inputs[:2]), elements)


def _summed_products(inputs: list[Value], outputs: list[Value]) -> Tally:
    """addbmm: the products of a batch of matrices (second and third argument), added up."""
    batch, rows, inner = inputs[1].type().sizes()
    return contraction(batch * rows * inner * inputs[2].type().sizes()[-1], numel(outputs[0]))


def _named_padding(inputs: list[Value], outputs: list[Value]) -> Tally:
    """A convolution with `padding="same"` or `"valid"`."""
    elements = numel(outputs[0])
    return contraction(elements * math.prod(inputs[1].type().sizes()[1:]), elements)


def attention(inputs: list[Value], outputs: list[Value]) -> Tally:
    """Fused attention, as the two products it is: B·H·Lq·Lk·(Dqk + Dv); both results are activations."""
    scores = attention_scores(inputs, outputs)
    width = inputs[0].type().sizes()[-1] + inputs[2].type().sizes()[-1]
    return contraction(scores * width, scores + numel(outputs[0]))


def attention_scores(inputs: list[Value], outputs: list[Value]) -> int:
    """The number of query-key pairs over all heads: B·H·Lq·Lk."""
    queries: int = math.prod(outputs[0].type().sizes()[:-1])
    keys: int = inputs[1].type().sizes()[-2]
    return queries * keys


def _norm(weight: int) -> Handle:
    return lambda inputs, outputs: other(numel(inputs[0]) * (4 if shape(inputs[weight]) is None else 5))


def _per_input(scale: int) -> Handle:
    return lambda inputs, outputs: other(scale * numel(inputs[0]))


def _per_output(scale: int) -> Handle:
    return lambda inputs, outputs: other(scale * numel(outputs[0]))


def _average_pool(dimensions: int) -> Handle:
    def count(inputs: list[Value], outputs: list[Value]) -> Tally:
        kernel = constant(inputs[1])
        window = math.prod(kernel) if len(kernel) > 1 else kernel[0] ** dimensions
        return other(numel(outputs[0]) * window)

    return count


def _grid_sample(inputs: list[Value], outputs: list[Value]) -> Tally:
    dimensions = len(inputs[0].type().sizes()) - 2
    reads = {0: 2**dimensions, 1: 1, 2: 4**dimensions}[constant(inputs[2])]
    return other(reads * numel(outputs[0]))


def _pairwise_distance(inputs: list[Value], outputs: list[Value]) -> Tally:
    return other(numel(outputs[0]) * inputs[0].type().sizes()[-1])


def _fourier(name: str) -> Handle:
    """The model 2.5 N log2 N for N complex points, half for real ones, rounded up, for every transform of the batch.

    N is the size of the side that is not cut to half: the input of `rfft`, the output of the others.
    """
    real = name.startswith(("rfft", "irfft"))

    def count(inputs: list[Value], outputs: list[Value]) -> Tally:
        full = list((inputs[0] if name.startswith("rfft") else outputs[0]).type().sizes())
        given, chosen = constant(inputs[1]), constant(inputs[2])
        sizes = given if isinstance(given, list) else [given]
        dims = chosen if isinstance(chosen, list) else [chosen]
        if dims == [None]:
            dims = list(range(-len(sizes) if sizes != [None] else -len(full), 0))
        for dim, size in zip(dims, sizes if sizes != [None] else (full[d] for d in dims), strict=True):
            full[dim] = size
        points = math.prod(full[dim] for dim in dims)
        each = math.ceil((1.25 if real else 2.5) * points * math.log2(points))
        return other(math.prod(full) // points * each)

    return count


def _meta(value: Value) -> Any:
    """The argument once more, with meta tensors for tensors."""
    if value.isCompleteTensor():
        return torch.empty(value.type().sizes(), dtype=value.type().dtype(), device="meta")
    if value.node().kind() == "prim::ListConstruct":
        return [_meta(item) for item in value.node().inputs()]
    return constant(value)


def _as_torch_runs(inputs: list[Value], outputs: list[Value]) -> Tally:
    """The products that torch makes of a composite operator, by running it again on the meta device."""
    node = outputs[0].node()
    schema = torch._C.parse_schema(node.schema())
    packet = getattr(torch.ops.aten, schema.name.removeprefix("aten::"))
    operator = getattr(packet, schema.overload_name or "default")
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    for formal, value in zip(schema.arguments, inputs, strict=True):
        if formal.kwarg_only:
            kwargs[formal.name] = _meta(value)
        else:
            args.append(_meta(value))
    with FlopCounterMode(display=False) as counter:
        operator(*args, **kwargs)
    return contraction(counter.get_total_flops() // 2, numel(outputs[0]))


@cache
def handles() -> dict[str, Handle]:
    """The handler of every operator that costs something, by its name in a traced graph."""
    from fvcore.nn import jit_handles as fvcore

    table: dict[str, Handle] = {
        "_convolution": _fvcore_contraction(fvcore.conv_flop_jit),
        "_convolution_mode": _named_padding,
        "addmm": _fvcore_contraction(fvcore.addmm_flop_jit),
        "bmm": _fvcore_contraction(fvcore.bmm_flop_jit),
        "linear": _fvcore_contraction(fvcore.linear_flop_jit),
        "mm": _fvcore_contraction(fvcore.matmul_flop_jit),
        "matmul": _inner_product(0),
        "mv": _inner_product(0),
        "dot": _inner_product(0),
        "vdot": _inner_product(0),
        "inner": _inner_product(0),
        "addmv": _inner_product(1),
        "baddbmm": _inner_product(1),
        "addbmm": _summed_products,
        "bilinear": _bilinear,
        "scaled_dot_product_attention": attention,
        "batch_norm": lambda inputs, outputs: other(fvcore.batchnorm_flop_jit(inputs, outputs)),
        "layer_norm": _norm(2),
        "group_norm": _norm(2),
        "rms_norm": _norm(2),
        "instance_norm": _norm(1),
        "grid_sampler": _grid_sample,
        "cdist": _pairwise_distance,
        "cosine_similarity": _per_input(3),
    }
    table |= dict.fromkeys(_AS_TORCH_RUNS, _as_torch_runs)
    table |= {name: _per_input(scale) for name, scale in _REDUCTIONS.items()}
    table |= {name: _per_output(scale) for name, scale in _RESAMPLINGS.items()}
    table["addcmul"] = _per_output(1)  # one multiply-add an element: how involutions sum over their taps
    table |= {f"avg_pool{n}d": _average_pool(n) for n in (1, 2, 3)}
    transforms = (f"{kind}{rank}" for kind in ("fft", "ifft", "rfft", "irfft") for rank in ("", "2", "n"))
    table |= {f"fft_{name}": _fourier(name) for name in transforms}
    return {f"aten::{name}": handle for name, handle in table.items()}

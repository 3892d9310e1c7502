"""What a machine can do at best: operations a second, and bytes a second from main memory and from the cache.

Measured, not read off a data sheet: a roofline drawn with the numbers of a vendor judges kernels by a machine that
nobody has. As for latencies, the best of many short runs counts, since other work only ever slows a kernel down.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import cycle
from statistics import median
from typing import Any

import torch

from archfront.space.errors import nearest

from . import worker
from .profile import LatencyError

DTYPES: dict[str, torch.dtype] = {
    "fp32": torch.float32,
    "fp16": torch.float16,
    "bf16": torch.bfloat16,
    "int8": torch.int8,
}
"""Number formats by the name that profiles give them."""

SMALL, FAR, LARGE = 1 << 18, 1 << 27, 1 << 28
"""Bytes that a streaming kernel works on: the least, 256 KiB; those that count as main memory, from 128 MiB; the most."""

PIECE = 1 << 22
"""Bytes of one run of a streaming kernel on the CPU, at most."""

Kernel = Callable[[], object]
"""Runs once."""


@dataclass(frozen=True)
class Peaks:
    """The best rates of a machine for one number format and number of threads.

    Args:
        flops_per_s: floating-point operations a second, two for every multiply-add.
        bytes_per_s: bytes read and written a second with data that no cache holds.
        cache_bytes_per_s: the same with data that a cache holds.
        cache_bytes: the largest working set that moves at half that rate or more.
        spread: median run over the fastest one, of the peak that repeats worst; 1 on a perfectly quiet machine.
        threads: that computed.
        dtype: number format.
        device: as torch names it.
        kernels: the rate of every kernel that was tried, by name; the fastest ones decide.
    """

    flops_per_s: float
    bytes_per_s: float
    cache_bytes_per_s: float
    cache_bytes: int
    spread: float = 1.0
    threads: int = 1
    dtype: str = "fp32"
    device: str = "cpu"
    kernels: Mapping[str, float] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        for name in ("flops_per_s", "bytes_per_s", "cache_bytes_per_s"):
            if not 0 < getattr(self, name) < math.inf:
                raise LatencyError(f"a machine's {name} must be positive, got {getattr(self, name)!r}")

    @property
    def balance(self) -> float:
        """Operations per byte of main memory at which computing takes as long as moving: the ridge of the roofline."""
        return self.flops_per_s / self.bytes_per_s

    @property
    def cache_balance(self) -> float:
        """The same for bytes that come from the cache."""
        return self.flops_per_s / self.cache_bytes_per_s

    def to_dict(self) -> dict[str, Any]:
        """Plain data; `Peaks(**data)` reads it back."""
        return asdict(self)

    def __str__(self) -> str:
        kib = self.cache_bytes / 1024
        size = f"{kib / 1024:.0f} MiB" if kib >= 1024 else f"{kib:.0f} KiB"
        return (
            f"{self.flops_per_s / 1e9:.4g} GFLOP/s, {self.bytes_per_s / 1e9:.3g} GB/s from memory, "
            f"{self.cache_bytes_per_s / 1e9:.3g} GB/s from a cache of {size} "
            f"({self.dtype}, {self.threads} thread{'s' * (self.threads > 1)})"
        )


def measure_peaks(threads: int = 1, dtype: str = "fp32", *, device: str = "cpu", seconds: float = 3.0) -> Peaks:
    """Measure the peaks of this machine.

    Computing: matrix products and, on the CPU in fp32, a convolution, in torch and in ONNX Runtime. Moving: copies and
    sums of working sets between 256 KiB and 256 MiB. What a copy reads and what it writes count once each.

    Args:
        threads: that compute; those of the profile whose latencies are judged.
        dtype: "fp32", "fp16", "bf16" or "int8".
        device: "cpu", or a device of torch such as "cuda".
        seconds: about how long to measure; every kernel runs three times at least.

    Raises:
        LatencyError: an unknown number format.
    """
    if dtype not in DTYPES:
        raise LatencyError(f"unknown number format {dtype!r}{nearest(dtype, DTYPES)}")
    with _threads(threads), torch.no_grad():
        computing = [
            (name, 2 * macs, _timed(run, seconds / 8, device)) for name, macs, run in _products(threads, dtype, device)
        ]
        moving = [
            (size, name, moved, _timed(run, seconds / (8 if size >= FAR else 40), device))
            for size, name, moved, run in _streams(device)
        ]
    rates = {name: flops / best for name, flops, (best, _) in computing}
    curve: dict[int, float] = {}
    for size, name, moved, (best, _) in moving:
        rates[f"{name}, {size >> 10} KiB"] = moved / best
        curve[size] = max(curve.get(size, 0.0), moved / best)
    deciding = (
        [(best / flops, middle / best) for _, flops, (best, middle) in computing],
        [(best / moved, middle / best) for size, _, moved, (best, middle) in moving if size >= FAR],
        [(best / moved, middle / best) for _, _, moved, (best, middle) in moving],
    )
    (flop, _), (far, _), (near, _) = winners = [min(sort) for sort in deciding]
    return Peaks(
        flops_per_s=1 / flop,
        bytes_per_s=1 / far,
        cache_bytes_per_s=1 / near,
        cache_bytes=cache_size(curve),
        spread=max(spread for _, spread in winners),
        threads=threads,
        dtype=dtype,
        device=device,
        kernels=rates,
    )


def cache_size(curve: Mapping[int, float]) -> int:
    """The largest working set in bytes that moves at half the best rate or more; `curve` gives rates by working set."""
    return max(size for size, rate in curve.items() if rate >= max(curve.values()) / 2)


# --------------------------------------------------------------------------- kernels


def _products(threads: int, dtype: str, device: str) -> Iterator[tuple[str, int, Kernel]]:
    """Name, multiply-adds and one run of every kernel that may reach the peak of computing."""
    n = 512 if device == "cpu" else 8192
    kind = DTYPES[dtype]
    if dtype == "int8":
        a, b = (torch.randint(-127, 127, (n, n), dtype=kind, device=device) for _ in range(2))
        yield f"torch product of {n}", n**3, lambda: torch._int_mm(a, b)
    else:
        x, y = (torch.randn(n, n, device=device).to(kind) for _ in range(2))
        yield f"torch product of {n}", n**3, lambda: x @ y
    if dtype == "fp32" and device == "cpu":
        yield f"ONNX Runtime product of {n}", n**3, _onnx("MatMul", (n, n), (n, n), threads)
        c, size = 128, 28
        run = _onnx("Conv", (1, c, size, size), (c, c, 3, 3), threads, pads=[1, 1, 1, 1])
        yield f"ONNX Runtime 3x3 convolution of {c}x{size}x{size}", 9 * (c * size) ** 2, run


def _onnx(operator: str, x: tuple[int, ...], weight: tuple[int, ...], threads: int, **attributes: Any) -> Kernel:
    """One operator with random weights in ONNX Runtime."""
    import numpy as np
    import onnx
    import onnxruntime
    from onnx import helper, numpy_helper

    values = np.random.default_rng(0).standard_normal(weight, dtype=np.float32)
    graph = helper.make_graph(
        [helper.make_node(operator, ["x", "w"], ["y"], **attributes)],
        "peak",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, x)],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)],
        [numpy_helper.from_array(values, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), worker.session_options(threads), providers=["CPUExecutionProvider"]
    )
    feed = {"x": np.random.default_rng(1).standard_normal(x, dtype=np.float32)}
    return lambda: session.run(None, feed)


def _streams(device: str) -> Iterator[tuple[int, str, int, Kernel]]:
    """Working set in bytes, name, bytes of a run, and one run of every kernel that may reach the peak of moving data.

    A working set that is large is gone through piece by piece, round after round: every run finds its piece where the
    others have driven it, and is still short enough to find a quiet moment.
    """
    whole, piece = torch.ones(LARGE // 4, device=device), PIECE if device == "cpu" else FAR
    size = SMALL
    while size <= LARGE:
        moved = min(size, piece)
        pieces = [whole[start : start + moved // 4] for start in range(0, size // 4, moved // 4)]
        pairs = [part.chunk(2) for part in pieces]
        yield size, "sum", moved, _in_turn([part.sum for part in pieces])
        yield size, "copy", moved, _in_turn([partial(target.copy_, source) for source, target in pairs])
        size *= 2


def _in_turn(runs: Sequence[Kernel]) -> Kernel:
    """Every call runs the next one."""
    turns = cycle(runs)
    return lambda: next(turns)()


# --------------------------------------------------------------------------- timing

SAMPLE_SECONDS = 1e-4
"""Least duration of one sample, so that reading the clock costs nothing beside it."""


def _timed(run: Kernel, seconds: float, device: str) -> tuple[float, float]:
    """Seconds of the fastest run and of the median one, over `seconds` and three samples at least."""
    run()
    runs = max(1, math.ceil(SAMPLE_SECONDS / _sample(run, 1, device)))
    start, samples = time.perf_counter(), list[float]()
    while len(samples) < 3 or time.perf_counter() - start < seconds:
        samples.append(_sample(run, runs, device))
    return min(samples), median(samples)


def _sample(run: Kernel, runs: int, device: str) -> float:
    """Seconds of one run, the mean of several that follow each other."""
    _synchronise(device)
    begin = time.perf_counter()
    for _ in range(runs):
        run()
    _synchronise(device)
    return (time.perf_counter() - begin) / runs


def _synchronise(device: str) -> None:
    """Wait for what a device was given to do; the CPU has done it already."""
    if device != "cpu":
        torch.accelerator.synchronize(device)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Let torch compute in `count` threads, then as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)

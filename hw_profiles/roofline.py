"""How well a network uses a machine: roofline, waterline, efficiency gap, and where the latency goes.

For kernel i with W_i operations (two a multiply-add), Q_i bytes moved and measured time t_i, on a machine that computes
R operations and moves B bytes a second:

    attainable time         T_i = max(W_i / R, Q_i / B)
    computational efficiency  e = sum W_i / (R L)           so L = (sum W_i / R) / e: ideal latency over efficiency
    latency                   L = sum W_i / R                           computing
                                + sum (T_i - W_i / R)                   waiting for memory
                                + sum (t_i - T_i)                       inefficiency of the kernels
                                + (L - sum t_i)                         calling the runtime and its nodes

The waterline chart draws a bar a kernel, as wide as its bytes and as high as its intensity I_i = W_i / Q_i, and a line
at I* = R / B. Bars below the line are under water: memory holds them up. The area below the upper edge of bars and line
is R times the attainable latency.

After Lavin, 2024, On the Efficiency of Convolutional Neural Networks, and Williams, Waterman and Patterson, 2009,
Roofline: an insightful visual performance model for multicore architectures.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from .memory import Memory
from .peaks import Peaks

if TYPE_CHECKING:
    import pandas as pd

Level = Literal["memory", "cache"]
"""Where data comes from: all of it from main memory, or from the cache what the cache can hold."""

FLAGGED_EFFICIENCY = 1.02
"""No network computes faster than the machine: above this the peaks are wrong, and that is said."""

_NEGATIVE: dict[Level, str] = {
    "memory": "moving all data from main memory would take longer than was measured, so the cache holds much of it",
    "cache": "a measured peak is too low, or bytes are counted that nobody moves",
}
"""What negative terms at each level mean."""

TRUSTED_SCALE = (0.75, 1.25)
"""Between what factors node times may be scaled to the measured latency without a remark."""


@dataclass(frozen=True)
class Kernel:
    """What runs as one piece between reading its inputs and writing its results.

    Args:
        name, operator: for people.
        flops: operations, two for every multiply-add.
        weight_bytes: of its constants, read once.
        activation_bytes: read and written besides.
        seconds: measured; NaN where nothing was.
    """

    name: str
    operator: str
    flops: int
    weight_bytes: int
    activation_bytes: int
    seconds: float = math.nan

    @property
    def bytes(self) -> int:
        """All bytes moved."""
        return self.weight_bytes + self.activation_bytes

    @property
    def intensity(self) -> float:
        """Operations for every byte moved; 0 for a kernel that does nothing."""
        return self.flops / self.bytes if self.bytes else math.inf if self.flops else 0.0


@dataclass(frozen=True)
class Terms:
    """Where the latency goes, in seconds; see the module. Negative terms mean that a peak is higher than measured."""

    compute: float
    memory: float
    kernel: float
    overhead: float

    @property
    def total(self) -> float:
        """Their sum, which is the latency."""
        return self.compute + self.memory + self.kernel + self.overhead

    def to_dict(self) -> dict[str, float]:
        """Plain data."""
        return asdict(self)


def moving_seconds(kernel: Kernel, kernels: Sequence[Kernel], peaks: Peaks, level: Level) -> float:
    """Least time in which a kernel's bytes can be moved.

    At level "cache", activations come from the cache where those of the kernel fit into it, and weights where all
    weights of the network fit in beside them: others are gone by the time of the next inference.
    """
    if level == "memory":
        return kernel.bytes / peaks.bytes_per_s
    near = kernel.activation_bytes <= peaks.cache_bytes
    held = sum(k.weight_bytes for k in kernels) + max(k.activation_bytes for k in kernels) <= peaks.cache_bytes
    return sum(
        size / (peaks.cache_bytes_per_s if cached else peaks.bytes_per_s)
        for size, cached in ((kernel.activation_bytes, near), (kernel.weight_bytes, held))
    )


def attainable_seconds(kernels: Sequence[Kernel], peaks: Peaks, level: Level = "memory") -> list[float]:
    """The least time that every kernel of a sequence can take."""
    return [max(k.flops / peaks.flops_per_s, moving_seconds(k, kernels, peaks, level)) for k in kernels]


@dataclass(frozen=True)
class Waterline:
    """A waterline chart in numbers: bars from `edges[i]` to `edges[i + 1]` bytes, of height `intensities[i]`.

    Args:
        edges: cumulated bytes, one more than there are bars.
        intensities: operations a byte.
        line: the balance of the machine, in operations a byte.
    """

    edges: tuple[float, ...]
    intensities: tuple[float, ...]
    line: float

    @property
    def area(self) -> float:
        """Operations below the upper edge of bars and line: the attainable latency times the peak."""
        widths = (right - left for left, right in zip(self.edges, self.edges[1:], strict=False))
        return math.fsum(w * max(i, self.line) for w, i in zip(widths, self.intensities, strict=True))


def waterline(kernels: Sequence[Kernel], peaks: Peaks, level: Level = "memory") -> Waterline:
    """The chart of a sequence of kernels; those that move nothing have no width and are left out."""
    drawn = [kernel for kernel in kernels if kernel.bytes]
    edges = [0.0]
    for kernel in drawn:
        edges.append(edges[-1] + kernel.bytes)
    line = peaks.balance if level == "memory" else peaks.cache_balance
    return Waterline(tuple(edges), tuple(kernel.intensity for kernel in drawn), line)


@dataclass(frozen=True)
class Efficiency:
    """How one network uses one machine.

    Args:
        name: of the network.
        kernels: as they ran, with times that sum to `latency_s` less `overhead_s`.
        peaks: of the machine.
        latency_s: measured, of the whole network, nothing else watching.
        overhead_s: of calling the runtime and its nodes, measured by itself.
        scale: what the profiled times of the kernels were multiplied by to sum up so.
        uncounted: operators whose operations are not known; the efficiency is too low by theirs.
        noisy: whether the latency was measured on a noisy machine.
        memory: peak activation memory, where it was found out.
    """

    name: str
    kernels: tuple[Kernel, ...]
    peaks: Peaks
    latency_s: float
    overhead_s: float
    scale: float = 1.0
    uncounted: tuple[str, ...] = ()
    noisy: bool = False
    memory: Memory | None = None

    @property
    def flops(self) -> int:
        """Operations of the network, two for every multiply-add."""
        return sum(kernel.flops for kernel in self.kernels)

    @property
    def ideal_s(self) -> float:
        """Latency at the machine's peak."""
        return self.flops / self.peaks.flops_per_s

    @property
    def efficiency(self) -> float:
        """Computational efficiency: the ideal latency as a share of the measured one."""
        return self.ideal_s / self.latency_s

    @property
    def gap_s(self) -> float:
        """The efficiency gap: measured less ideal latency."""
        return self.latency_s - self.ideal_s

    def attainable_s(self, level: Level = "cache") -> float:
        """The least latency of these kernels one after the other: the area under the waterline chart."""
        return math.fsum(attainable_seconds(self.kernels, self.peaks, level))

    def terms(self, level: Level = "cache") -> Terms:
        """Where the latency goes; the terms sum to it."""
        attainable = self.attainable_s(level)
        running = math.fsum(kernel.seconds for kernel in self.kernels)
        return Terms(self.ideal_s, attainable - self.ideal_s, running - attainable, self.latency_s - running)

    @property
    def flags(self) -> list[str]:
        """What a reader must know before trusting these numbers; empty when all is well."""
        found = []
        if self.efficiency > FLAGGED_EFFICIENCY:
            found.append(f"efficiency {self.efficiency:.2f} is above 1: the measured peak of computing is too low")
        for level, why in _NEGATIVE.items():
            negative = [name for name, value in self.terms(level).to_dict().items() if value < 0]
            if negative:
                found.append(f"{why} (negative: {', '.join(negative)})")
        if self.uncounted:
            found.append(f"operations of these operators are not known and not counted: {', '.join(self.uncounted)}")
        if not TRUSTED_SCALE[0] <= self.scale <= TRUSTED_SCALE[1]:
            found.append(f"profiled node times were scaled by {self.scale:.2f}: profile and latency differ that much")
        if self.noisy:
            found.append("the latency was measured on a noisy machine")
        return found

    def frame(self, level: Level = "cache") -> pd.DataFrame:
        """One row a kernel, in order.

        Columns: name, operator, flops, weight_bytes, activation_bytes, intensity, seconds, share (of the latency),
        attainable_s, efficiency (of computing, while the kernel ran), bound ("compute" or "memory").
        """
        import pandas as pd

        attainable = attainable_seconds(self.kernels, self.peaks, level)
        rows = [
            {
                **asdict(kernel),
                "intensity": kernel.intensity,
                "share": kernel.seconds / self.latency_s,
                "attainable_s": least,
                "efficiency": kernel.flops / (self.peaks.flops_per_s * kernel.seconds) if kernel.seconds else math.nan,
                "bound": "compute" if kernel.flops and least <= kernel.flops / self.peaks.flops_per_s else "memory",
            }
            for kernel, least in zip(self.kernels, attainable, strict=True)
        ]
        return pd.DataFrame(rows)

    def to_dict(self) -> dict[str, Any]:
        """Plain data: totals, terms at both levels, and every kernel."""
        return {
            "name": self.name,
            "latency_ms": 1e3 * self.latency_s,
            "ideal_ms": 1e3 * self.ideal_s,
            "attainable_ms": {level: 1e3 * self.attainable_s(level) for level in LEVELS},
            "efficiency": self.efficiency,
            "macs": self.flops // 2,
            "flops": self.flops,
            "terms_ms": {
                level: {name: 1e3 * value for name, value in self.terms(level).to_dict().items()} for level in LEVELS
            },
            "scale": self.scale,
            "flags": self.flags,
            "peaks": self.peaks.to_dict(),
            "memory_bytes": self.memory.to_dict() if self.memory else None,
            "kernels": self.frame().to_dict(orient="records"),
        }


LEVELS: tuple[Level, ...] = ("memory", "cache")


def summary_frame(found: Sequence[Efficiency], level: Level = "cache") -> pd.DataFrame:
    """One row a network: latency, ideal and attainable latency, efficiency, and the terms of the latency."""
    import pandas as pd

    return pd.DataFrame(
        [
            {
                "name": e.name,
                "flops": e.flops,
                "latency_ms": 1e3 * e.latency_s,
                "ideal_ms": 1e3 * e.ideal_s,
                "attainable_ms": 1e3 * e.attainable_s(level),
                "efficiency": e.efficiency,
                **{f"{name}_ms": 1e3 * value for name, value in e.terms(level).to_dict().items()},
                "flagged": bool(e.flags),
            }
            for e in found
        ]
    )

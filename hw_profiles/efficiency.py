"""The efficiency of an architecture on this machine: peaks, latency and node times measured, and put together.

from archfront.hw_profiles.efficiency import analyse

found = analyse({"mine": architecture}, profile("local-cpu"))["mine"]
found.efficiency, found.terms(), found.frame()
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from archfront.space.architecture import Architecture

from .node_times import CallCost, Executed, call_cost, profile_nodes
from .peaks import Peaks, measure_peaks
from .profile import LatencyError, Profile
from .protocol import LatencyResult, Progress, Schedule, measure
from .roofline import Efficiency, Kernel
from .runtimes import RUNTIMES, Workload


def analyse(
    candidates: Mapping[str, Architecture],
    profile: Profile,
    schedule: Schedule | None = None,
    peaks: Peaks | None = None,
    progress: Progress | None = None,
) -> dict[str, Efficiency]:
    """Measure candidates and where their latency goes, all in one run.

    Args:
        candidates: architectures by name.
        profile: of this machine; its runtime must be ONNX Runtime, whose profiler gives the times of nodes.
        schedule: how much the latencies are measured.
        peaks: of this machine; measured when not given.
        progress: told about every step of measuring latencies.

    Raises:
        LatencyError: another runtime, or a candidate that cannot be measured.
    """
    require_profiler(profile)
    latencies = measure(candidates, profile, schedule, progress)
    peaks = peaks or peaks_of(profile)
    return {name: explain(name, candidates[name], latency, profile, peaks) for name, latency in latencies.items()}


def peaks_of(profile: Profile) -> Peaks:
    """The peaks that a profile of this machine states, measured where it states none."""
    found = (profile.flops_per_s, profile.bytes_per_s, profile.cache_bytes_per_s, profile.cache_bytes)
    if None in found:
        return measure_peaks(profile.threads, profile.precision)
    flops, far, near, size = found
    return Peaks(flops, far, near, size, threads=profile.threads, dtype=profile.precision)  # type: ignore[arg-type]


def explain(
    name: str, candidate: Architecture | Workload, latency: LatencyResult, profile: Profile, peaks: Peaks | None = None
) -> Efficiency:
    """Where a latency that was measured on this machine goes; its peaks are the profile's, or measured now.

    Raises:
        LatencyError: the profile's runtime has no profiler that is known here.
    """
    executed = executed_nodes(candidate, profile)
    return efficiency(name, executed, latency, peaks or peaks_of(profile), call_cost(profile.threads))


def efficiency(
    name: str, executed: Executed, latency: LatencyResult | float, peaks: Peaks, cost: CallCost
) -> Efficiency:
    """Put together what was measured.

    The profiler slows nodes down, so their times are scaled to what the latency leaves for them: all of it but the
    price of calling the runtime and its nodes.

    Args:
        name: of the network.
        executed: its nodes.
        latency: of the whole network, in seconds where it is a number.
        peaks: of the machine.
        cost: of calling the runtime.

    Raises:
        LatencyError: the network takes no longer than calling the runtime.
    """
    seconds = latency if isinstance(latency, float) else latency.value_ms / 1e3
    overhead = cost.of(len(executed.nodes))
    if seconds <= overhead:
        raise LatencyError(
            f"{name}: takes {1e6 * seconds:.3g} us, calling the runtime alone {1e6 * overhead:.3g}; no time is left to "
            "be spread over its nodes"
        )
    scale = (seconds - overhead) / sum(node.seconds for node in executed.nodes)
    kernels = tuple(
        Kernel(_short(n.name), n.operator, n.flops or 0, n.weight_bytes, n.activation_bytes, n.seconds * scale)
        for n in executed.nodes
    )
    noisy = isinstance(latency, LatencyResult) and latency.noisy
    return Efficiency(name, kernels, peaks, seconds, overhead, scale, executed.uncounted, noisy, executed.memory)


def _short(name: str) -> str:
    """A node's name without what the exporter and the runtime append."""
    return name.strip("/").removesuffix("_nchwc").removesuffix("_output_0")


def executed_nodes(candidate: Architecture | Workload, profile: Profile, seconds: float = 1.0) -> Executed:
    """The nodes of a network as this machine's runtime executes them."""
    require_profiler(profile)
    network, x = (candidate.network, candidate.input) if isinstance(candidate, Architecture) else candidate
    with tempfile.TemporaryDirectory(prefix="archfront-efficiency-") as folder:
        prepared = RUNTIMES[profile.runtime].prepare("network", (network, x), profile, Path(folder))
        return profile_nodes(Path(prepared.model["file"]), profile.threads, profile.provider, seconds)


def require_profiler(profile: Profile) -> None:
    """Refuse profiles whose runtime does not say what its nodes take.

    Raises:
        LatencyError: another runtime than ONNX Runtime, or another machine.
    """
    if profile.runtime != "onnxruntime" or profile.transport != "local":
        raise LatencyError(
            f"the efficiency analysis needs the profiler of ONNX Runtime on this machine; {profile.name!r} is "
            f"{profile.runtime} ({profile.transport}): use the device local-cpu"
        )

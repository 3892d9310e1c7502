"""Where the latency of ten published networks goes: the terms sum to it, and no efficiency above 1.02 goes unsaid.

    python benchmarks/efficiency.py [--quick] [--seed N] [--json FILE] [--html FILE]

Latency, node times and peaks are measured in one run. "from nodes" is what the profiler's unscaled node times and the
price of calling the runtime add up to, as a share of the latency: 1 when profile and protocol agree.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from _common import Figures, Run, main

from archfront.hw_profiles.cost import cost
from archfront.hw_profiles.efficiency import efficiency, executed_nodes
from archfront.hw_profiles.node_times import call_cost
from archfront.hw_profiles.peaks import measure_peaks
from archfront.hw_profiles.profile import profile
from archfront.hw_profiles.protocol import Schedule, measure
from archfront.hw_profiles.roofline import FLAGGED_EFFICIENCY, LEVELS, Efficiency
from archfront.reports.efficiency import write_page
from archfront.space.references import reference

NETWORKS = (
    "resnet18", "resnet50", "resnext50_32x4d", "mobilenetv2_1.0", "efficientnet_b0", "GhostNet-1.0x", "poolformer_s12",
    "CvT-13", "ConvNeXtV2-Atto", "OSNet x1.0 ImageNet",
)  # fmt: skip
"""Plain, depthwise, grouped, gated, attention and pooling networks."""


def run(options: Run) -> Figures:
    here = profile("local-cpu")
    names = NETWORKS[::3] if options.quick else NETWORKS
    networks = {name: reference(name).architecture() for name in names}
    schedule = Schedule(max_seconds=12 if options.quick else 240, rounds=3 if options.quick else 24, seed=options.seed,
                        processes=1 if options.quick else 3)  # fmt: skip
    latencies = measure(networks, here, schedule)
    peaks, calls = measure_peaks(here.threads, here.precision), call_cost(here.threads)
    found = [
        efficiency(name, executed_nodes(networks[name], here, 0.2 if options.quick else 3.0), latency, peaks, calls)
        for name, latency in latencies.items()
    ]
    if HTML is not None:
        write_page(found, HTML)
    exact = {name: 2 * cost(network).contractions for name, network in networks.items()}
    return {
        "networks": len(found),
        "peak_gflops": peaks.flops_per_s / 1e9,
        "memory_gb_per_s": peaks.bytes_per_s / 1e9,
        "cache_gb_per_s": peaks.cache_bytes_per_s / 1e9,
        "cache_kib": peaks.cache_bytes / 1024,
        "worst_sum_error_percent": max(
            100 * abs(e.terms(level).total / e.latency_s - 1) for e in found for level in LEVELS
        ),
        "highest_efficiency": max(e.efficiency for e in found),
        "unflagged_above_limit": sum(e.efficiency > FLAGGED_EFFICIENCY and not e.flags for e in found),
        "wrong_operation_counts": sum(e.flops != exact[e.name] for e in found),
        "noisy": any(e.noisy for e in found),
        "where the latency goes (ms, data from the cache where it fits)": [row(e) for e in found],
        "flags": [{"network": e.name, "flag": flag} for e in found for flag in e.flags],
    }


def row(found: Efficiency) -> dict[str, object]:
    """One network."""
    terms = found.terms("cache")
    nodes = sum(kernel.seconds for kernel in found.kernels) / found.scale + found.overhead_s
    return {
        "network": found.name,
        "ms": 1e3 * found.latency_s,
        "efficiency": found.efficiency,
        "computing": 1e3 * terms.compute,
        "memory": 1e3 * terms.memory,
        "kernels": 1e3 * terms.kernel,
        "calling": 1e3 * terms.overhead,
        "from nodes": nodes / found.latency_s,
    }


HTML: Path | None = None

if __name__ == "__main__":
    own = argparse.ArgumentParser(add_help=False)
    own.add_argument("--html", type=Path)
    given, rest = own.parse_known_args()
    HTML, sys.argv[1:] = given.html, rest
    main("efficiency", "Where the latency goes: the terms sum to what was measured.", run)

"""From measurements to terms: what is put together is what was measured."""

from __future__ import annotations

import pytest
import torch

from archfront.hw_profiles.efficiency import analyse, efficiency, executed_nodes, peaks_of
from archfront.hw_profiles.memory import Memory
from archfront.hw_profiles.node_times import CallCost, Executed, NodeTime
from archfront.hw_profiles.peaks import Peaks
from archfront.hw_profiles.profile import LatencyError, profile
from archfront.hw_profiles.protocol import Schedule
from archfront.space.architecture import Architecture
from archfront.space.library.block.mbconv import MBConv
from archfront.space.library.head.classifier import Classifier
from archfront.space.library.stem.convolution import ConvStem
from archfront.space.network import Network, Stage
from archfront.space.types import Image

torch.set_num_threads(1)

PEAKS = Peaks(flops_per_s=100e9, bytes_per_s=10e9, cache_bytes_per_s=50e9, cache_bytes=1 << 20)

NODES = Executed(
    (NodeTime("/a/Conv_output_0_nchwc", "Conv", 2e-3, 10**8, 1000, 5000), NodeTime("b", "Odd", 1e-3, None, 0, 7000)),
    Memory(10, 9, 8),
)

SMALL = Architecture(
    input=Image(3, 32, 32),
    network=Network(
        stem=ConvStem(width=8),
        stages=(Stage(width=12, depth=1, stride=2, block=MBConv(kernel=3, expand=3)),),
        head=Classifier(classes=10),
    ),
)


def test_node_times_share_what_the_latency_leaves_after_calling() -> None:
    found = efficiency("net", NODES, 2.6e-3, PEAKS, CallCost(call=0.1e-3, node=0.05e-3))
    assert found.overhead_s == pytest.approx(0.2e-3)
    assert [kernel.seconds for kernel in found.kernels] == pytest.approx([1.6e-3, 0.8e-3])
    assert found.scale == pytest.approx(0.8)
    assert found.terms("memory").total == pytest.approx(2.6e-3)
    assert found.terms("memory").overhead == pytest.approx(0.2e-3)


def test_operators_that_are_not_known_are_named() -> None:
    found = efficiency("net", NODES, 3.2e-3, PEAKS, CallCost(0.0, 0.0))
    assert found.uncounted == ("Odd",)
    assert any("Odd" in flag for flag in found.flags)
    assert found.kernels[0].name == "a/Conv"
    assert found.memory == Memory(10, 9, 8)


def test_a_latency_below_the_price_of_a_call_is_refused() -> None:
    with pytest.raises(LatencyError, match="no time is left"):
        efficiency("net", NODES, 1e-4, PEAKS, CallCost(call=1e-4, node=0.0))


def test_the_terms_of_a_measured_network_sum_to_its_measured_latency() -> None:
    found = analyse({"small": SMALL}, profile("local-cpu"), Schedule(processes=1, rounds=3, max_seconds=1), PEAKS)[
        "small"
    ]
    assert found.terms("memory").total == pytest.approx(found.latency_s, rel=1e-9)
    assert found.terms("cache").total == pytest.approx(found.latency_s, rel=1e-9)
    assert found.overhead_s > 0
    assert len(found.frame()) == len(found.kernels)


def test_peaks_that_a_profile_states_are_used() -> None:
    stated = profile("local-cpu").model_copy(
        update={"flops_per_s": 1e11, "bytes_per_s": 1e10, "cache_bytes_per_s": 5e10, "cache_bytes": 4096}
    )
    assert peaks_of(stated) == Peaks(1e11, 1e10, 5e10, 4096)


def test_another_runtime_is_refused_with_what_would_work() -> None:
    with pytest.raises(LatencyError, match="local-cpu"):
        executed_nodes(SMALL, profile("local-cpu").model_copy(update={"runtime": "torch"}))

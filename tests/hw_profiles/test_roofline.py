"""Efficiency arithmetic on sequences that are worked out by hand or drawn at random."""

from __future__ import annotations

import math
import random

import pytest

from archfront.hw_profiles.peaks import Peaks
from archfront.hw_profiles.roofline import (
    LEVELS,
    Efficiency,
    Kernel,
    Level,
    attainable_seconds,
    summary_frame,
    waterline,
)

PEAKS = Peaks(flops_per_s=100.0, bytes_per_s=10.0, cache_bytes_per_s=50.0, cache_bytes=100)

COMPUTING = Kernel("conv", "Conv", flops=1000, weight_bytes=20, activation_bytes=30, seconds=12.0)
MOVING = Kernel("add", "Add", flops=0, weight_bytes=0, activation_bytes=40, seconds=5.0)
DEPTHWISE = Kernel("depthwise", "Conv", flops=100, weight_bytes=10, activation_bytes=190, seconds=25.0)
FOUND = Efficiency("net", (COMPUTING, MOVING, DEPTHWISE), PEAKS, latency_s=45.0, overhead_s=3.0)


def random_kernels(seed: int, count: int = 10) -> tuple[Kernel, ...]:
    draw = random.Random(seed)
    return tuple(
        Kernel(f"k{i}", "Conv", draw.choice((0, draw.randrange(10**6))), draw.randrange(500), draw.randrange(1, 5000),
               draw.uniform(0.1, 9))
        for i in range(count)
    )  # fmt: skip


def test_a_kernel_takes_what_computing_or_moving_takes_at_least() -> None:
    assert attainable_seconds(FOUND.kernels, PEAKS, "memory") == [10.0, 4.0, 20.0]


def test_the_terms_of_a_network_are_those_that_a_person_computes() -> None:
    memory = FOUND.terms("memory")
    assert (memory.compute, memory.memory, memory.kernel, memory.overhead) == pytest.approx((11.0, 23.0, 8.0, 3.0))
    # from the cache: 40 bytes of the addition in 0.8 s; 190 bytes do not fit into 100, nor do all weights
    cache = FOUND.terms("cache")
    assert (cache.compute, cache.memory, cache.kernel, cache.overhead) == pytest.approx((11.0, 19.8, 11.2, 3.0))


def test_weights_come_from_the_cache_when_all_of_them_fit_beside_the_activations() -> None:
    small = (Kernel("a", "Conv", 0, 30, 40, 1.0), Kernel("b", "Conv", 0, 20, 50, 1.0))
    assert attainable_seconds(small, PEAKS, "cache") == [70 / 50, 70 / 50]
    wider = (Kernel("a", "Conv", 0, 31, 40, 1.0), *small[1:])
    assert attainable_seconds(wider, PEAKS, "cache") == [31 / 10 + 40 / 50, 20 / 10 + 50 / 50]


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("seed", range(20))
def test_the_terms_sum_to_the_latency(seed: int, level: Level) -> None:
    kernels = random_kernels(seed)
    latency = sum(k.seconds for k in kernels) + 0.5
    terms = Efficiency("net", kernels, PEAKS, latency, 0.5).terms(level)
    assert terms.total == pytest.approx(latency, rel=1e-12)
    assert terms.compute >= 0 and terms.memory >= 0


@pytest.mark.parametrize("seed", range(20))
def test_the_area_of_the_waterline_chart_is_the_attainable_latency_times_the_peak(seed: int) -> None:
    kernels = random_kernels(seed)
    expected = PEAKS.flops_per_s * sum(attainable_seconds(kernels, PEAKS, "memory"))
    assert waterline(kernels, PEAKS).area == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_latency_is_complexity_over_peak_and_efficiency_for_every_kernel(seed: int) -> None:
    kernels = random_kernels(seed)
    frame = Efficiency("net", kernels, PEAKS, 100.0, 0.0).frame()
    counted = frame[frame["flops"] > 0]
    again = counted["flops"] / (PEAKS.flops_per_s * counted["efficiency"])
    assert (abs(again / counted["seconds"] - 1) < 1e-12).all()


def test_bars_under_water_are_memory_bound() -> None:
    chart = waterline(FOUND.kernels, PEAKS)
    assert chart.line == 10.0
    assert chart.edges == (0.0, 50.0, 90.0, 290.0)
    assert chart.intensities == (20.0, 0.0, 0.5)
    assert list(FOUND.frame("memory")["bound"]) == ["compute", "memory", "memory"]


def test_efficiency_and_gap_follow_from_latency_and_operations() -> None:
    assert FOUND.ideal_s == 11.0
    assert FOUND.efficiency == pytest.approx(11 / 45)
    assert FOUND.gap_s == 34.0
    assert FOUND.latency_s == pytest.approx(FOUND.ideal_s / FOUND.efficiency)


def test_a_kernel_that_moves_nothing_has_no_bar() -> None:
    view = Kernel("reshape", "Reshape", 0, 0, 0, 0.1)
    assert view.intensity == 0
    assert waterline((view, COMPUTING), PEAKS).edges == (0.0, 50.0)
    assert math.isinf(Kernel("odd", "Odd", 1, 0, 0).intensity)


def test_an_efficiency_above_one_is_flagged_and_not_clipped() -> None:
    fast = Efficiency("net", (Kernel("conv", "Conv", 1000, 1, 1, 9.0),), PEAKS, 9.0, 0.0)
    assert fast.efficiency == pytest.approx(1 / 0.9)
    assert any("above 1" in flag for flag in fast.flags)
    assert fast.terms().kernel == pytest.approx(-1.0)
    assert any("negative: kernel" in flag for flag in fast.flags)


def test_a_network_without_remarks_has_no_flags() -> None:
    assert FOUND.flags == []


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [("uncounted", ("Mystery",), "Mystery"), ("scale", 2.0, "2.00"), ("noisy", True, "noisy")],
)
def test_what_makes_the_figures_doubtful_is_said(field: str, value: object, words: str) -> None:
    doubtful = Efficiency("net", FOUND.kernels, PEAKS, 45.0, 3.0, **{field: value})  # type: ignore[arg-type]
    assert [words in flag for flag in doubtful.flags] == [True]


def test_plain_data_and_frames_say_the_same() -> None:
    document = FOUND.to_dict()
    assert document["terms_ms"]["memory"] == pytest.approx(
        {"compute": 11e3, "memory": 23e3, "kernel": 8e3, "overhead": 3e3}
    )
    assert document["flops"] == 2 * document["macs"] == 1100
    row = summary_frame([FOUND], "memory").iloc[0]
    assert row["compute_ms"] + row["memory_ms"] + row["kernel_ms"] + row["overhead_ms"] == pytest.approx(45e3)
    assert FOUND.frame()["share"].sum() == pytest.approx(42 / 45)

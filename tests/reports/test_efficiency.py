"""Figures of efficiency for a network of ten layers."""

from __future__ import annotations

import pytest

from archfront.hw_profiles.peaks import Peaks
from archfront.hw_profiles.roofline import LEVELS, Efficiency, Kernel
from archfront.reports.efficiency import gap_figure, page, roofline_figure, terms_figure, waterline_figure

PEAKS = Peaks(flops_per_s=100e9, bytes_per_s=10e9, cache_bytes_per_s=50e9, cache_bytes=1 << 20)

LAYERS = tuple(
    Kernel(
        f"layer {i}", "Conv", flops=i * 10**6, weight_bytes=i * 1000, activation_bytes=400_000, seconds=1e-4 + i * 2e-5
    )
    for i in range(10)
)
TOY = Efficiency("toy", LAYERS, PEAKS, latency_s=sum(k.seconds for k in LAYERS) + 1e-5, overhead_s=1e-5)
HOSTILE = Efficiency("</script><b>evil", LAYERS, PEAKS, TOY.latency_s, 1e-5)


def test_the_bars_of_the_waterline_chart_are_as_wide_as_their_bytes_and_as_high_as_their_intensity() -> None:
    bars = [
        (left, width, height)
        for trace in waterline_figure(LAYERS, PEAKS).data
        for left, width, height in zip(trace.x, trace.width, trace.y, strict=True)
    ]
    assert len(bars) == 10
    cumulated = 0.0
    for kernel, (left, width, height) in zip(LAYERS, sorted(bars), strict=True):
        assert left == pytest.approx(cumulated)
        assert width == pytest.approx(kernel.bytes / 2**20)
        assert height == pytest.approx(kernel.flops / kernel.bytes)
        cumulated += width


def test_between_the_lines_the_colour_is_what_a_kernel_waits_for_with_data_where_it_fits() -> None:
    """At intensity 5, between the lines at 2 and 10, activations come from the cache and large weights do not."""
    near = Kernel("near", "Conv", flops=5 * 400_000, weight_bytes=0, activation_bytes=400_000)
    far = Kernel("far", "Conv", flops=5 * 4_000_000, weight_bytes=4_000_000, activation_bytes=0)
    traces = waterline_figure((near, far), PEAKS).data
    assert [(trace.name, [name for name, _ in trace.customdata]) for trace in traces] == [
        ("waits for computing", ["near"]), ("waits for memory", ["far"])
    ]  # fmt: skip
    assert "above both lines waits for computing, one below both for memory" in page([TOY])


def test_a_page_says_what_was_measured_on() -> None:
    assert "<p>input 3x32x32 &lt;here&gt;</p>" in page([TOY], "input 3x32x32 <here>")


def test_both_waterlines_are_drawn() -> None:
    assert {shape.y0 for shape in waterline_figure(LAYERS, PEAKS).layout.shapes} == {10.0, 2.0}


def test_kernels_that_nobody_measured_are_drawn_with_their_attainable_time() -> None:
    modelled = [Kernel("fused <block>", "block", flops=10**6, weight_bytes=1000, activation_bytes=400_000)]
    ((name, times),) = [data for trace in waterline_figure(modelled, PEAKS).data for data in trace.customdata]
    assert name == "fused <block>"
    assert times.endswith("of all") and "measured" not in times


def test_no_kernel_stands_above_a_roof_that_it_is_measured_under() -> None:
    points = roofline_figure(TOY).data[-1]
    for intensity, rate in zip(points.x, points.y, strict=True):
        assert rate <= min(100.0, 50.0 * intensity)


def test_the_stacked_bars_are_as_long_as_the_latency() -> None:
    figure = terms_figure([TOY])
    for index, level in enumerate(LEVELS):
        assert sum(trace.x[index] for trace in figure.data) == pytest.approx(1e3 * TOY.latency_s), level


def test_the_distance_from_the_diagonal_is_one_over_the_efficiency() -> None:
    (points,) = [trace for trace in gap_figure([TOY]).data if trace.name == "toy"]
    assert points.y[0] / points.x[0] == pytest.approx(1 / TOY.efficiency)


def test_a_page_is_complete_and_escapes_names() -> None:
    written = page([TOY, HOSTILE])
    assert "<b>evil" not in written
    assert written.count('class="plotly-graph-div"') == 2 + 2 * 2
    assert " src=" not in written.partition("</head>")[2]

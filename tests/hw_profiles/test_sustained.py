"""Sustained latency, on a simulated device that throttles, and for real for a second or so."""

from __future__ import annotations

import math

import pytest

from archfront.hw_profiles import answers, worker
from archfront.hw_profiles.profile import LatencyError, local_profile
from archfront.hw_profiles.simulated import SimulatedDevice
from archfront.hw_profiles.sustained import SustainedResult, Window, endure, sustain
from archfront.space.library.operator.conv import Conv
from archfront.space.types import Image

PROFILE = local_profile()
MS = 20.0


def device(**heat: float) -> SimulatedDevice:
    return SimulatedDevice({"net": MS}, seed=0, bursts=0, drift=0, placement=0, **heat)


def endured(on: SimulatedDevice, before: list[SustainedResult] | None = None, seconds: float = 180) -> SustainedResult:
    return endure(on.launch, "net", PROFILE, seconds, 100.0, before or [])


def test_a_device_that_throttles_shows_its_first_minute_and_what_is_left_of_it() -> None:
    found = endured(device(busy_celsius=42.0, throttle=0.4))
    # 30 + 42 (1 - exp(-t / 20)) passes 60 degrees after 25 s and comes to rest at 72, above where it is throttled fully
    assert found.first_ms == pytest.approx(MS * 1.01, rel=0.25) and found.first_ms < found.sustained_ms
    assert found.sustained_ms == pytest.approx(MS * 1.4 * 1.007, rel=0.01)  # 1.007: the median of the jitter
    assert found.throttled and found.slowdown == found.sustained_ms / found.first_ms
    assert found.celsius == pytest.approx(30, abs=0.2) and found.hottest == pytest.approx(72, abs=0.2)
    assert found.percentile(50) == found.sustained_ms <= found.percentile(90) <= found.percentile(99)
    assert "30 to 72 °C" in str(found)


def test_a_device_that_stays_cool_sustains_its_latency() -> None:
    found = endured(device(busy_celsius=20.0, throttle=0.4))
    assert not found.throttled
    assert found.sustained_ms == pytest.approx(found.first_ms, rel=0.01)
    measurement = found.measurement()
    assert measurement.provenance == "measured" and measurement.value == found.sustained_ms
    assert measurement.spread is not None and measurement.spread < 0.02 * MS


def test_a_device_without_a_thermometer_reports_no_temperature() -> None:
    found = endured(device())
    assert found.celsius is None and found.hottest is None
    assert "°C" not in str(found)


def test_the_next_model_waits_until_the_device_is_as_cool_as_at_the_start() -> None:
    hot = device(busy_celsius=42.0)
    first = endured(hot)
    assert first.cooled == 0.0
    second = endured(hot, [first])
    # from 72 to 32 degrees with 20 s: 20 ln(42 / 2) seconds, in whole seconds
    assert second.cooled == pytest.approx(math.ceil(20 * math.log(42 / 2.2)), abs=2)
    assert second.celsius is not None and second.celsius <= 32.3


def test_cooling_down_takes_no_longer_than_allowed_and_all_of_it_without_a_thermometer() -> None:
    blind = device()
    assert endured(blind, [endured(blind)]).cooled == pytest.approx(100, abs=1)
    hot = device(busy_celsius=1000.0)
    assert endured(hot, [endured(hot)]).cooled <= 101


def test_windows_follow_each_other_and_hold_every_timed_run() -> None:
    found = endured(device(), seconds=10)
    assert 9 < len(found.windows) < 12
    assert [window.seconds for window in found.windows] == sorted(window.seconds for window in found.windows)
    assert 10 <= found.seconds < 11.1
    runs = sum(len(window.wall) for window in found.windows)
    assert runs == pytest.approx(10e3 / MS, rel=0.05)  # 20 ms leaves room for 50 runs a second: all are timed


def test_of_a_tiny_model_evenly_spaced_runs_are_timed() -> None:
    tiny = SimulatedDevice({"net": 0.1}, seed=0, bursts=0, drift=0)
    found = tiny.launch(worker.Endurance(5.0, max_runs=64))
    assert all(0 < len(window["wall"]) <= 64 for window in found["windows"])
    assert len(found["windows"]) < 10


def test_sustained_latency_is_of_the_last_third_and_the_first_minute_of_its_first() -> None:
    windows = tuple(Window(float(second), (1_000_000 * (1 + second),), None) for second in range(1, 301))
    found = SustainedResult("net", "digest", 0.0, None, windows)
    assert found.first_ms == 1 + 30.5  # the median of 1 .. 60, and 1
    assert found.sustained_ms == 1 + 250.5  # of 201 .. 300
    short = SustainedResult("net", "digest", 0.0, None, windows[:30])
    assert (short.first_ms, short.sustained_ms) == (1 + 5.5, 1 + 25.5)


def test_what_a_worker_sustained_is_checked_before_it_is_used() -> None:
    plan = worker.Endurance(5.0, max_runs=8)
    good = device().launch(plan)
    assert answers.times(good, ["net"], plan) == good
    with pytest.raises(LatencyError, match=r"at windows\.0\.celsius"):
        answers.times({**good, "windows": [{**good["windows"][0], "celsius": "hot"}]}, ["net"], plan)
    with pytest.raises(LatencyError, match="more than 8 runs"):
        answers.times({**good, "windows": [{**good["windows"][0], "wall": [1] * 9}]}, ["net"], plan)


def test_this_machine_sustains_for_a_second() -> None:
    steps: list[str] = []
    x = Image(3, 8, 8)
    results = sustain(
        {"narrow": (Conv(width=4), x), "wide": (Conv(width=8), x)},
        PROFILE,
        seconds=1.5,
        cool_seconds=0,
        progress=lambda done, total, what: steps.append(what),
    )
    assert list(results) == ["narrow", "wide"]
    for result in results.values():
        assert result.profile == PROFILE.digest
        assert 0 < result.first_ms < 1000 and 0 < result.sustained_ms < 1000
        assert result.seconds >= 1.5
    assert steps[-1].startswith("running ") and steps[-1].endswith(" for 2 s")


def test_no_time_to_run_is_refused() -> None:
    with pytest.raises(LatencyError, match="seconds must be positive"):
        sustain({}, PROFILE, seconds=0)

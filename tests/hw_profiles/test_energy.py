"""Energy: counters that wrap, logs of meters, and the protocol on a simulated device whose truth is known."""

from __future__ import annotations

import math
import random
from pathlib import Path

import pytest

from archfront.hw_profiles.energy import (
    IDLE,
    EnergyError,
    Meter,
    Powercap,
    PowerLog,
    Window,
    energies,
    find_meter,
    measure_energy,
    run_windows,
    with_log,
)

RANGE = 262_143_328_850
"""What `max_energy_range_uj` says on many processors."""


def zone(root: Path, name: str, label: str, energy: int) -> Path:
    folder = root / name
    folder.mkdir(parents=True)
    (folder / "name").write_text(f"{label}\n")
    (folder / "max_energy_range_uj").write_text(f"{RANGE}\n")
    (folder / "energy_uj").write_text(f"{energy}\n")
    return folder / "energy_uj"


def test_all_packages_count_once_and_what_lies_inside_them_not_again(tmp_path: Path) -> None:
    first = zone(tmp_path, "intel-rapl:0", "package-0", 1_000_000)
    second = zone(tmp_path, "intel-rapl:1", "package-1", 5_000_000)
    inside = zone(tmp_path, "intel-rapl:0:0", "core", 0)
    platform = zone(tmp_path, "intel-rapl:2", "psys", 0)
    meter = Powercap(tmp_path)
    assert meter.joules() == 0
    for file, energy in ((first, 3_000_000), (second, 8_000_000), (inside, 10**9), (platform, 10**9)):
        file.write_text(str(energy))
    assert meter.joules() == 5.0
    assert meter.source == "powercap: package-0, package-1"


def test_a_counter_that_starts_again_goes_on(tmp_path: Path) -> None:
    counter = zone(tmp_path, "intel-rapl:0", "package-0", RANGE - 1_000_000)
    meter = Powercap(tmp_path)
    counter.write_text("2000000")
    assert meter.joules() == 3.0
    counter.write_text("2500000")
    assert meter.joules() == 3.5


def test_without_counters_energy_is_not_available(tmp_path: Path) -> None:
    with pytest.raises(EnergyError, match=r"energy: not available \(no powercap: .* does not exist\)"):
        find_meter(root=tmp_path / "missing")
    with pytest.raises(EnergyError, match="no package"):
        find_meter(root=tmp_path)


def test_an_unreadable_counter_says_who_may_read_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zone(tmp_path, "intel-rapl:0", "package-0", 0)
    read = Path.read_text

    def refused(path: Path, *args: str, **kwargs: str) -> str:
        if path.name == "energy_uj":
            raise PermissionError
        return read(path, *args, **kwargs)

    monkeypatch.setattr(Path, "read_text", refused)  # the tests may run as root, who reads everything
    with pytest.raises(EnergyError, match="chmod a\\+r"):
        Powercap(tmp_path)


# --------------------------------------------------------------------------- a simulated device


class Device(Meter):
    """A device that takes `idle` watts, more as time goes by, and so many joules and seconds for every inference."""

    source = "simulated"

    def __init__(self, idle: float = 20.0, drift: float = 0.02, noise: float = 0.0) -> None:
        self.time, self.used, self.idle, self.drift, self.noise = 1000.0, 0.0, idle, drift, random.Random(0)
        self.sigma = noise
        self.log: list[tuple[float, float]] = [(self.time, idle)]

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.advance(seconds, 0.0)

    def advance(self, seconds: float, joules: float) -> None:
        watts = self.idle + self.drift * (self.time - 1000.0)
        self.used += watts * seconds + joules * (1 + self.noise.gauss(0, self.sigma))
        self.time += seconds

    def joules(self) -> float:
        return self.used


def networks(device: Device) -> dict[str, object]:
    return {
        "small": lambda: device.advance(0.010, 0.050),
        "large": lambda: device.advance(0.040, 0.400),
    }


def test_the_energy_of_an_inference_is_found_above_an_idle_power_that_drifts() -> None:
    device = Device()
    found = measure_energy(networks(device), device, rounds=6, clock=device)  # type: ignore[arg-type]
    assert found["small"].joules == pytest.approx(0.050, rel=0.05)
    assert found["large"].joules == pytest.approx(0.400, rel=0.05)
    assert abs(found["small"].joules - 0.050) < found["small"].interval
    assert found["large"].watts > found["large"].idle_watts > 20


def test_the_truth_lies_in_the_interval_as_often_as_it_promises() -> None:
    covered = 0
    for seed in range(200):
        device = Device(drift=0.0, noise=0.5)
        device.noise = random.Random(seed)
        found = measure_energy(networks(device), device, rounds=4, seconds=0.5, clock=device)["large"]  # type: ignore[arg-type]
        covered += abs(found.joules - 0.400) <= found.interval
    assert 0.90 <= covered / 200 <= 0.99


def test_windows_last_and_take_turns() -> None:
    device = Device()
    windows = run_windows(networks(device), device, rounds=3, seconds=5.0, clock=device)  # type: ignore[arg-type]
    assert [sorted(w.name for w in windows if w.round == r) for r in range(3)] == [[IDLE, "large", "small"]] * 3
    assert all(w.end - w.begin >= 5.0 for w in windows)
    assert {w.runs for w in windows if w.name == "small"} <= {500, 501}


def test_a_measurement_is_in_millijoules_and_measured() -> None:
    device = Device(drift=0.0)
    found = measure_energy(networks(device), device, rounds=2, clock=device)["small"].measurement()  # type: ignore[arg-type]
    assert found.value == pytest.approx(50.0)
    assert found.provenance == "measured"
    assert found.samples >= 1000


@pytest.mark.parametrize("rounds", [0, 1])
def test_one_round_gives_no_interval(rounds: int) -> None:
    with pytest.raises(EnergyError, match="two rounds"):
        run_windows({}, None, rounds=rounds)


# --------------------------------------------------------------------------- logs


def test_power_is_integrated_between_readings() -> None:
    log = PowerLog((0.0, 2.0, 4.0), (10.0, 20.0, 20.0))
    assert log.joules(0, 4) == pytest.approx(30 + 40)
    assert log.joules(1, 3) == pytest.approx(17.5 + 20)
    assert log.joules(0.5, 0.5) == 0


def test_a_log_gives_what_a_counter_gives() -> None:
    device = Device(drift=0.0)
    windows = run_windows(networks(device), device, rounds=2, clock=device)  # type: ignore[arg-type]
    power = {IDLE: 20.0, "small": 20 + 0.050 / 0.010, "large": 20 + 0.400 / 0.040}
    steps = [(m, power[w.name]) for w in windows for m in (w.begin + 1e-9, w.end - 1e-9)]
    steps = [(windows[0].begin - 1, 20.0), *steps, (windows[-1].end + 1, 20.0)]
    logged = with_log(
        [Window(w.name, w.round, w.begin, w.end, w.runs) for w in windows], PowerLog(*zip(*steps, strict=True))
    )
    for name, energy in energies(logged, "log").items():
        assert energy.joules == pytest.approx(energies(windows, "counter")[name].joules, rel=1e-3)


def test_a_log_is_read_from_a_file_and_moved_to_this_clock(tmp_path: Path) -> None:
    file = tmp_path / "meter.csv"
    file.write_text("seconds,watts,volts\n10,5.0,230\n11,7.0,230\n")
    assert PowerLog.read(file, shift=2.5) == PowerLog((12.5, 13.5), (5.0, 7.0), str(file))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("time,watts\n1,2\n", "lacks seconds"),
        ("seconds,watts\n1,2\n2,much\n", "line 3"),
        ("seconds,watts\n1,2\n1,3\n", "must increase"),
        ("seconds,watts\n1,2\n", "two readings"),
        ("seconds,watts\n1,2\n2,nan\n", "not a number"),
    ],
)
def test_a_bad_log_is_refused_with_its_line(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "meter.csv"
    file.write_text(text)
    with pytest.raises(EnergyError, match=words):
        PowerLog.read(file)


def test_windows_that_a_log_does_not_cover_are_refused() -> None:
    with pytest.raises(EnergyError, match="check its clock"):
        PowerLog((0.0, 1.0), (1.0, 1.0)).joules(0.5, 2.0)


def test_windows_without_a_meter_are_no_energy() -> None:
    assert math.isnan(Window("net", 0, 0.0, 1.0, 1).joules)
    with pytest.raises(EnergyError, match="with_log"):
        energies([Window("net", 0, 0.0, 1.0, 1)], "none")

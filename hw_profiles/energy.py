"""Energy of one inference, from the counters of a processor, of a graphics card, or from the log of a power meter.

There is no estimate here: where nothing measures, energy is not available, and the error says what was looked for.
Counters see the whole machine, so every round also holds a window in which nothing runs, and what the machine takes
then is subtracted. Windows last seconds because counters tick slowly; they are interleaved because idle power drifts.
"""

from __future__ import annotations

import csv
import importlib
import math
import random
import tempfile
import time
from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, Protocol

from archfront.space.architecture import Architecture

from .metrics import Measurement
from .profile import LatencyError, Profile, require_local
from .runtimes import RUNTIMES
from .worker import LOADERS, Session

POWERCAP = Path("/sys/class/powercap")

IDLE = "(idle)"
"""Name of the windows in which nothing runs."""


class EnergyError(LatencyError):
    """Energy is not available, or what was measured cannot be used: says what was looked for and what would help."""


class Clock(Protocol):
    """Where the time comes from; tests put a simulated device here."""

    def now(self) -> float:
        """Seconds since the epoch, as power meters log them."""

    def sleep(self, seconds: float) -> None:
        """Do nothing for so long."""


class SystemClock:
    """The clock of this machine: it never steps back, and begins at the time of day."""

    def __init__(self) -> None:
        self._offset = time.time() - time.perf_counter()

    def now(self) -> float:
        return time.perf_counter() + self._offset

    sleep = staticmethod(time.sleep)


# --------------------------------------------------------------------------- counters


class Meter(ABC):
    """A counter of energy that can be read at any moment.

    Args:
        source: what it counts, for people.
    """

    source: str

    @abstractmethod
    def joules(self) -> float:
        """Energy since the meter was made."""


class Powercap(Meter):
    """The packages of the processor, through Linux powercap (RAPL). Counts all that runs there, not this process alone.

    Each counter starts again at zero after `max_energy_range_uj`; a window must not last longer than that takes, which
    is minutes at least.

    Raises:
        EnergyError: there is no such counter, or this user may not read it.
    """

    def __init__(self, root: Path = POWERCAP) -> None:
        if not root.is_dir():
            raise EnergyError(f"no powercap: {root} does not exist")
        self._zones = [zone for zone in sorted(root.glob("intel-rapl:*")) if _is_package(zone)]
        if not self._zones:
            raise EnergyError(f"no powercap: {root} has no package of a processor")
        self._ranges = [_number(zone / "max_energy_range_uj") for zone in self._zones]
        self._last = self._read()
        self._total = 0
        self.source = "powercap: " + ", ".join((zone / "name").read_text().strip() for zone in self._zones)

    def joules(self) -> float:
        found = self._read()
        for now, before, limit in zip(found, self._last, self._ranges, strict=True):
            self._total += now - before if now >= before else now + limit - before
        self._last = found
        return self._total / 1e6

    def _read(self) -> list[int]:
        return [_number(zone / "energy_uj") for zone in self._zones]


def _is_package(zone: Path) -> bool:
    """Zones inside a package (cores, memory) are part of its count, and "psys" counts the packages once more."""
    return zone.name.count(":") == 1 and (zone / "name").read_text().strip().startswith("package")


def _number(file: Path) -> int:
    try:
        return int(file.read_text())
    except PermissionError:
        raise EnergyError(
            f"no permission to read {file}: since 2020 only root may (PLATYPUS); an administrator can allow it with "
            f"chmod a+r {file}"
        ) from None
    except (OSError, ValueError) as error:
        raise EnergyError(f"cannot read {file}: {error}") from None


class Nvml(Meter):
    """A graphics card of NVIDIA, Volta or newer, through NVML.

    Raises:
        EnergyError: the library (pip install nvidia-ml-py), the driver or the counter is missing.
    """

    def __init__(self, index: int = 0) -> None:
        try:
            pynvml: Any = importlib.import_module("pynvml")
        except ModuleNotFoundError:
            raise EnergyError("no NVML: pip install nvidia-ml-py") from None
        self._nvml = pynvml
        try:
            pynvml.nvmlInit()
            self._device = pynvml.nvmlDeviceGetHandleByIndex(index)
            self._start = pynvml.nvmlDeviceGetTotalEnergyConsumption(self._device)
            self.source = f"NVML: {pynvml.nvmlDeviceGetName(self._device)}"
        except pynvml.NVMLError as error:
            raise EnergyError(f"no NVML: {error}") from None

    def joules(self) -> float:
        now = self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._device)
        return float(now - self._start) / 1e3


def find_meter(device: str = "cpu", root: Path = POWERCAP) -> Meter:
    """The energy counter of a device: powercap for the processor, NVML for "cuda".

    Raises:
        EnergyError: there is none; energy is then not available.
    """
    try:
        return Nvml() if device.startswith("cuda") else Powercap(root)
    except EnergyError as error:
        raise EnergyError(f"energy: not available ({error})") from None


# --------------------------------------------------------------------------- logs of power meters


@dataclass(frozen=True)
class PowerLog:
    """What an external power meter wrote down: the power at moments, linear in between.

    Args:
        seconds: moments since the epoch, increasing.
        watts: power at each.
        source: what measured, for people.
    """

    seconds: tuple[float, ...]
    watts: tuple[float, ...]
    source: str = "power meter"

    def __post_init__(self) -> None:
        if len(self.seconds) != len(self.watts) or len(self.seconds) < 2:
            raise EnergyError(f"{self.source}: a log needs two readings at least, each with seconds and watts")
        if any(b <= a for a, b in zip(self.seconds, self.seconds[1:], strict=False)):
            raise EnergyError(f"{self.source}: the times of the readings must increase")
        if not all(map(math.isfinite, (*self.seconds, *self.watts))):
            raise EnergyError(f"{self.source}: a reading is not a number")

    @staticmethod
    def read(file: str | Path, *, shift: float = 0.0) -> PowerLog:
        """Read a CSV file whose header names the columns `seconds` (since the epoch) and `watts`.

        Args:
            file: to read.
            shift: seconds by which the meter's clock is behind this machine's.

        Raises:
            EnergyError: unreadable; names the line.
        """
        seconds, watts = list[float](), list[float]()
        try:
            with Path(file).open(newline="", encoding="utf-8") as lines:
                reader = csv.DictReader(lines)
                missing = {"seconds", "watts"} - set(reader.fieldnames or ())
                if missing:
                    raise EnergyError(f"{file}: the header lacks {', '.join(sorted(missing))}")
                for row in reader:
                    try:
                        seconds.append(float(row["seconds"]) + shift)
                        watts.append(float(row["watts"]))
                    except (TypeError, ValueError):
                        raise EnergyError(
                            f"{file}, line {reader.line_num}: seconds and watts must be numbers"
                        ) from None
        except OSError as error:
            raise EnergyError(f"cannot read {file}: {error.strerror}") from None
        return PowerLog(tuple(seconds), tuple(watts), str(file))

    def joules(self, begin: float, end: float) -> float:
        """Energy between two moments.

        Raises:
            EnergyError: the log does not cover them.
        """
        if not self.seconds[0] <= begin <= end <= self.seconds[-1]:
            raise EnergyError(
                f"{self.source} covers {self.seconds[0]:.3f} to {self.seconds[-1]:.3f} s, not {begin:.3f} to {end:.3f}: "
                "let the meter log from before the first window to after the last, and check its clock"
            )
        inside = [i for i, moment in enumerate(self.seconds) if begin < moment < end]
        moments = [begin, *(self.seconds[i] for i in inside), end]
        powers = [self._power(begin), *(self.watts[i] for i in inside), self._power(end)]
        return math.fsum(
            (right - left) * (a + b) / 2
            for left, right, a, b in zip(moments, moments[1:], powers, powers[1:], strict=False)
        )

    def _power(self, moment: float) -> float:
        right = max(1, bisect_left(self.seconds, moment))
        left = right - 1
        share = (moment - self.seconds[left]) / (self.seconds[right] - self.seconds[left])
        return self.watts[left] + share * (self.watts[right] - self.watts[left])


# --------------------------------------------------------------------------- measuring


@dataclass(frozen=True)
class Window:
    """A stretch of time in which one network ran over and over, or nothing did.

    Args:
        name: of the network, or `IDLE`.
        round: to which it belongs.
        begin, end: seconds since the epoch.
        runs: inferences in it.
        joules: what a counter measured in it; NaN until a log is read.
    """

    name: str
    round: int
    begin: float
    end: float
    runs: int
    joules: float = math.nan

    @property
    def watts(self) -> float:
        """Mean power."""
        return self.joules / (self.end - self.begin)


@dataclass(frozen=True)
class Energy:
    """Energy of one inference above idle.

    Args:
        joules: mean over rounds.
        interval: half-width of its 95 % interval (Student's t over rounds).
        watts: mean power while the network ran, idle power included.
        idle_watts: mean power while nothing ran.
        runs: inferences behind it.
        source: what measured.
    """

    joules: float
    interval: float
    watts: float
    idle_watts: float
    runs: int
    source: str

    def measurement(self) -> Measurement:
        """As the metric `energy_mj`."""
        return Measurement(1e3 * self.joules, "measured", 1e3 * self.interval, self.runs)


def run_windows(
    sessions: Mapping[str, Session],
    meter: Meter | None,
    rounds: int = 4,
    seconds: float = 5.0,
    seed: int = 0,
    clock: Clock | None = None,
) -> list[Window]:
    """Run networks in windows, interleaved with idle ones, in a new random order every round.

    Args:
        sessions: by name, what runs one inference; warmed up.
        meter: a counter; None where an external meter logs meanwhile (see `with_log`).
        rounds: windows of every network, two at least.
        seconds: least duration of a window.
        seed: of the orders.
        clock: of this machine if not given.

    Raises:
        EnergyError: too few rounds for an interval.
    """
    if rounds < 2:
        raise EnergyError(f"an interval needs two rounds at least, got {rounds}")
    clock, order = clock or SystemClock(), random.Random(seed)
    names, windows = [IDLE, *sessions], list[Window]()
    for number in range(rounds):
        order.shuffle(names)
        for name in names:
            windows.append(_window(name, number, sessions.get(name), meter, seconds, clock))
    return windows


def _window(
    name: str, number: int, session: Session | None, meter: Meter | None, seconds: float, clock: Clock
) -> Window:
    before = meter.joules() if meter else math.nan
    begin, runs = clock.now(), 0
    if session is None:
        clock.sleep(seconds)
    else:
        while clock.now() - begin < seconds:
            session()
            runs += 1
    end = clock.now()
    return Window(name, number, begin, end, runs, (meter.joules() if meter else math.nan) - before)


def with_log(windows: Sequence[Window], log: PowerLog) -> list[Window]:
    """The windows with what an external meter logged in them."""
    return [replace(window, joules=log.joules(window.begin, window.end)) for window in windows]


def energies(windows: Sequence[Window], source: str) -> dict[str, Energy]:
    """Energy of one inference of every network: in every round, what its window took above idle, over its runs.

    Raises:
        EnergyError: a window has no energy, or there are fewer than two rounds.
    """
    from scipy.stats import t  # type: ignore[import-untyped]

    if any(math.isnan(window.joules) for window in windows):
        raise EnergyError("no meter counted in these windows: read the log of one with with_log")
    idle = {window.round: window.watts for window in windows if window.name == IDLE}
    if len(idle) < 2:
        raise EnergyError("an interval needs two rounds with an idle window at least")
    found = {}
    for name in dict.fromkeys(window.name for window in windows if window.name != IDLE):
        mine = [window for window in windows if window.name == name]
        each = [(w.joules - idle[w.round] * (w.end - w.begin)) / w.runs for w in mine]
        width = float(t.ppf(0.975, len(each) - 1)) * stdev(each) / math.sqrt(len(each))
        runs = sum(window.runs for window in mine)
        found[name] = Energy(fmean(each), width, fmean(w.watts for w in mine), fmean(idle.values()), runs, source)
    return found


def measure_energy(
    sessions: Mapping[str, Session],
    meter: Meter,
    rounds: int = 4,
    seconds: float = 5.0,
    seed: int = 0,
    clock: Clock | None = None,
) -> dict[str, Energy]:
    """Energy of one inference of every network by a counter; arguments as in `run_windows`."""
    return energies(run_windows(sessions, meter, rounds, seconds, seed, clock), meter.source)


def architecture_energy(
    candidates: Mapping[str, Architecture], profile: Profile, meter: Meter, rounds: int = 4, seconds: float = 5.0
) -> dict[str, Energy]:
    """Energy of one inference of architectures on this machine, in the runtime of a profile, in this process.

    Raises:
        LatencyError: the profile is another machine's, or a candidate cannot be converted.
    """
    require_local(profile)
    with tempfile.TemporaryDirectory(prefix="archfront-energy-") as folder:
        sessions = {}
        for name, candidate in candidates.items():
            workload = candidate.network, candidate.input
            model = RUNTIMES[profile.runtime].prepare(name, workload, profile, Path(folder)).model
            sessions[name] = LOADERS[model["kind"]](model, profile.threads)
            sessions[name]()
        return measure_energy(sessions, meter, rounds, seconds)

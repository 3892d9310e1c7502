"""Devices that were added: probed, timed and calibrated once, and kept as profiles in the user's folder."""

from __future__ import annotations

import contextlib
import datetime
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .energy import EnergyError, find_meter
from .peaks import measure_peaks
from .profile import (
    DECISIVE,
    LOCAL,
    LatencyError,
    Profile,
    RuntimeName,
    TransportName,
    as_found,
    described,
    devices_folder,
    engine,
)
from .profile import profile as find_profile
from .protocol import LatencyResult, Progress, Schedule, measure
from .runtimes import RUNTIMES, CacheStreaming, Computing, Overhead, Probe, Streaming
from .table import WEIGHT_BYTES
from .transport import transport as way_to

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def file_of(name: str) -> Path:
    """Where the profile of the device `name` is kept.

    Raises:
        LatencyError: no name for a device.
    """
    if name in LOCAL:
        raise LatencyError(f"{name!r} is always there, as this machine is now; give the device another name")
    if not NAME.fullmatch(name) or name.endswith(".toml"):
        raise LatencyError(f"{name!r} is no name for a device: letters, digits, '-', '_' and '.', like rpi5-fp16")
    return devices_folder() / f"{name}.toml"


def require_free(name: str) -> None:
    """Refuse a name that a device already has.

    Raises:
        LatencyError: it has; says what to do.
    """
    if file_of(name).exists():
        raise LatencyError(
            f"there is a device {name!r} already: choose another name, --replace it, or archfront device remove {name}"
        )


@dataclass(frozen=True)
class Added:
    """A device that was just described.

    Args:
        profile: what was found.
        file: where it is kept.
        calling: the latency of a network that does next to nothing: what calling the runtime costs.
    """

    profile: Profile
    file: Path
    calling: LatencyResult


def add(
    name: str,
    runtime: RuntimeName = "onnxruntime",
    *,
    transport: TransportName = "local",
    address: str | None = None,
    schedule: Schedule | None = None,
    peak_seconds: float = 3.0,
    progress: Progress | None = None,
    **settings: Any,
) -> Added:
    """Probe a device, time the reference network there, measure its peaks, and keep all this; replaces an older one.

    Args:
        name: what the device is called from now on.
        runtime: what executes networks there.
        transport, address: the way to it.
        schedule: of timing the reference network.
        peak_seconds: of measuring peaks; on another device the runtime there is what measures.
        progress: told about every step.
        settings: further fields of the profile: `threads`, `precision`, `batch`, `provider`, `affinity`.

    Raises:
        LatencyError: no name, the device cannot be reached, the runtime is missing there or here, or cannot do what the
            settings ask.
        StorageError: the profile cannot be written.
    """
    file = file_of(name)
    device = way_to(transport, address)
    package = engine(runtime).package
    facts = device.probe()
    device.require_runtime(package, facts)
    asked = described(facts, name, runtime, transport=transport, address=address, **settings)
    require_cores(asked, facts)
    RUNTIMES[runtime].require(asked)
    calling = time_reference(asked, schedule, progress)
    found = asked.model_copy(update=figures(asked, calling, peak_seconds, progress))
    found.save(file)
    return Added(found, file, calling)


def require_cores(asked: Profile, facts: dict[str, Any]) -> None:
    """Refuse more threads or other cores than a device has.

    Raises:
        LatencyError: says which there are.
    """
    there: list[int] = facts["affinity"]
    missing = [core for core in asked.affinity or () if core not in there]
    if missing:
        raise LatencyError(f"the device has no core {', '.join(map(str, missing))} to pin to; it has {there}")
    cores = len(asked.affinity or there)
    if asked.threads > cores:
        raise LatencyError(f"{asked.threads} threads on {cores} cores would time waiting: at most {cores}")


def figures(asked: Profile, timed: LatencyResult, peak_seconds: float, progress: Progress | None) -> dict[str, Any]:
    """What a profile says about its device besides what decides a latency."""
    found: dict[str, Any] = {
        "reference_ms": timed.health.reference_ms,
        "reference_spread": timed.health.spread,
        "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
    }
    if progress:
        progress(0, 1, "measuring peaks")
    if asked.transport != "local":
        found |= distant_peaks(asked, peak_seconds, progress)
    else:
        device = "cuda" if asked.device == "gpu" else "cpu"
        peaks = measure_peaks(asked.threads, asked.precision, device=device, seconds=peak_seconds)
        for field in ("flops_per_s", "bytes_per_s", "cache_bytes_per_s", "cache_bytes"):
            found[field] = getattr(peaks, field)
        with contextlib.suppress(EnergyError):  # a machine without a meter is the usual case, and the profile says so
            found["energy"] = find_meter(device).source
    return found


def distant_peaks(asked: Profile, seconds: float, progress: Progress | None) -> dict[str, float]:
    """The peaks of a device that only its runtime can be asked for, from single operators timed as networks are.

    Reading is left out in int8, where the runtime may put the operator together with the conversions around it; and so
    is what takes no longer than calling the runtime.

    Args:
        asked: the device.
        seconds: about how long to measure.
        progress: told about every step.
    """
    one = asked.model_copy(update={"batch": 1})
    width = WEIGHT_BYTES[asked.precision]
    probes: dict[str, tuple[type[Computing | Streaming | CacheStreaming], int]] = {"flops_per_s": (Computing, 1)}
    if asked.precision != "int8":
        probes |= {"bytes_per_s": (Streaming, width), "cache_bytes_per_s": (CacheStreaming, width)}
    workloads = {name: (probe(), probe.INPUT) for name, (probe, _) in probes.items()}
    calling = "calling the runtime"
    found = measure({calling: (Overhead(), Probe.INPUT), **workloads}, one, Schedule(max_seconds=seconds), progress)
    spent = {name: (found[name].value_ms - found[calling].value_ms) / 1e3 for name in probes}
    return {name: unit * probe.AMOUNT / spent[name] for name, (probe, unit) in probes.items() if spent[name] > 0}


def time_reference(asked: Profile, schedule: Schedule | None, progress: Progress | None) -> LatencyResult:
    """Time the reference network, and beside it a network that does next to nothing, whose result is returned."""
    schedule = schedule or Schedule(max_seconds=20.0)
    return measure({"calling the runtime": (Overhead(), Probe.INPUT)}, asked, schedule, progress)["calling the runtime"]


@dataclass(frozen=True)
class Checked:
    """A device that was reached and is what its profile says.

    Args:
        profile: as it is kept.
        now: as `Added.calling`, with the health of the device, measured now.
    """

    profile: Profile
    now: LatencyResult

    @property
    def ratio(self) -> float | None:
        """How many times as long the reference network takes as when the device was added."""
        before = self.profile.reference_ms
        return None if before is None else self.now.health.reference_ms / before


def check(name: str, schedule: Schedule | None = None, progress: Progress | None = None) -> Checked:
    """Reach a device, compare it with its profile, and time the reference network again.

    Raises:
        LatencyError: no such device, it cannot be reached, or is not what its profile says; names the fields.
    """
    kept = find_profile(name)
    now = as_found(kept, way_to(kept.transport, kept.address).probe())
    if now.digest != kept.digest:
        fields = [field for field in DECISIVE if getattr(kept, field) != getattr(now, field)]
        changed = "\n  ".join(f"{field}: was {getattr(kept, field)!r}, is {getattr(now, field)!r}" for field in fields)
        raise LatencyError(
            f"device {name!r} is not what its profile says:\n  {changed}\nIts latencies of before and of now are never "
            f"mixed: archfront device add {name} --replace describes it as it is now"
        )
    return Checked(kept, time_reference(kept, schedule, progress))


def remove(name: str) -> Path:
    """Forget a device; returns the file that is gone.

    Raises:
        LatencyError: there is none of that name.
    """
    file = file_of(name)
    if not file.exists():
        find_profile(name)  # says which there are
    file.unlink()
    return file

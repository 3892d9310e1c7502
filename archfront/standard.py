"""Every block at a standard input, for comparing them: what it costs there, and what it took on a device."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import MISSING, fields
from pathlib import Path

from archfront.hw_profiles.cost import Cost, CostError, part_cost
from archfront.hw_profiles.profile import Profile, devices_folder
from archfront.hw_profiles.table import LatencyTable
from archfront.space.errors import ShapeError
from archfront.space.library.mixer.identity import IdentityMixer
from archfront.space.spec import Downsample, Spec, Stem, Upsample
from archfront.space.types import Feature, Image

MAP = Feature(128, (28, 28))
IMAGE = Image(3, 112, 112)
"""What a stem is fed; everything else is fed `MAP`."""

REQUIRED = {"width": 64, "classes": 100, "mixer": IdentityMixer()}
"""What fields without a default are given."""

Workload = tuple[Spec, Feature]


def standard(cls: type[Spec]) -> Workload:
    """A block with its defaults, and the standard input of its kind; what resamples does so by two.

    Raises:
        ShapeError: the block takes something else than one map, has no defaults, or does not ship with archfront: what
            it needs is not known here.
    """
    if not cls.__module__.startswith("archfront.space.library."):
        raise ShapeError(f"{cls.__name__} is no block of the library")
    lacking = [f.name for f in fields(cls) if f.default is MISSING and f.name not in REQUIRED]
    if lacking:
        raise ShapeError(f"{cls.__name__} has no default for {', '.join(lacking)}")
    spec = cls(**{f.name: REQUIRED[f.name] for f in fields(cls) if f.default is MISSING})
    if isinstance(spec, (Downsample, Upsample)):
        spec = spec.replaced({"width": 2 * MAP.channels if isinstance(spec, Downsample) else None, "stride": 2})
    x = IMAGE if isinstance(spec, Stem) else MAP
    spec.output(x)
    return spec, x


def standard_cost(cls: type[Spec]) -> Cost | None:
    """What a block costs at its standard input; None where it has none."""
    try:
        return part_cost(*standard(cls))
    except (ShapeError, CostError):
        return None


def table_file(profile: Profile) -> Path:
    """Where the latencies of standard blocks on a profile are kept."""
    return devices_folder() / f"blocks-{profile.digest}.json"


def measured(profile: Profile) -> LatencyTable | None:
    """The latencies of standard blocks on a profile, if they were measured."""
    file = table_file(profile)
    return LatencyTable.load(file, profile) if file.exists() else None


def measure(
    classes: Iterable[type[Spec]], profile: Profile, progress: Callable[[int, int, str], None] | None = None
) -> LatencyTable:
    """Measure those of these blocks that were not measured yet, in one interleaved run, and keep the result."""
    table = measured(profile) or LatencyTable(profile)
    workloads = []
    for cls in classes:
        try:
            workloads.append(standard(cls))
        except ShapeError:
            continue
    table.fill(workloads, limit=len(workloads), max_seconds=120.0, progress=progress)
    file = table_file(profile)
    file.parent.mkdir(parents=True, exist_ok=True)
    table.save(file)
    return table


def latency_ms(table: LatencyTable | None, cls: type[Spec]) -> float | None:
    """What a block took at its standard input, without the price of calling the runtime; None where that is unknown."""
    try:
        block = table.blocks.get(standard(cls)) if table else None
    except ShapeError:
        return None
    return block.ms if block else None

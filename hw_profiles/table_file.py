"""What a latency table holds, and its file: JSON that names the profile, the blocks, and the networks measured whole."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from archfront.space.architecture import Architecture
from archfront.space.files import write_text
from archfront.space.serial import decode, encode
from archfront.space.types import FeatureType

from .profile import LatencyError, Profile
from .runtimes import Workload

SCHEMA = 3


class Block(NamedTuple):
    """A measured block.

    Args:
        ms: milliseconds without the price of calling the runtime.
        width: half-width of its interval, as a share.
        refill_ms: what it takes more with an empty cache, less what an empty graph takes more.
    """

    ms: float
    width: float
    refill_ms: float


class Net(NamedTuple):
    """A network measured whole: its latency in every process of the run."""

    architecture: Architecture
    process_ms: tuple[float, ...]


@dataclass
class Contents:
    """All that a latency table knows from measuring.

    Args:
        profile: what networks are predicted for, and were measured on whole.
        blocks_of: where the blocks were measured.
        reference_ms: the level of the first run, which all blocks are kept at: the latency of the reference network.
        blocks: what was measured of every block.
        failures: why the runtime cannot run these blocks.
        nets: networks measured whole, all in one run.
    """

    profile: Profile
    blocks_of: Profile
    reference_ms: float | None = None
    blocks: dict[Workload, Block] = field(default_factory=dict)
    failures: dict[Workload, str] = field(default_factory=dict)
    nets: list[Net] = field(default_factory=list)


def write(contents: Contents, path: str | Path) -> None:
    """Write a table as JSON, in one piece: a reader never sees half of it.

    Raises:
        StorageError: the disk is full or the folder cannot be written; the old file, if any, is kept.
    """
    data = {
        "schema": SCHEMA,
        "profile": contents.profile.model_dump(),
        "blocks_of": contents.blocks_of.model_dump(),
        "reference_ms": contents.reference_ms,
        "blocks": [{**_written(workload), **block._asdict()} for workload, block in contents.blocks.items()],
        "failures": [{**_written(workload), "reason": reason} for workload, reason in contents.failures.items()],
        "nets": [{"architecture": net.architecture.to_dict(), "process_ms": net.process_ms} for net in contents.nets],
    }
    write_text(path, json.dumps(data))


def read(path: str | Path) -> Contents:
    """What `write` wrote.

    Raises:
        LatencyError: unreadable, or of another version.
        SpecError: it holds a block that is not registered.
    """
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise LatencyError(f"cannot read latency table {path}: {error.strerror}") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise LatencyError(f"latency table {path} is damaged ({error}); delete it and it is measured again") from None
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        raise LatencyError(f"{path} is no latency table of schema {SCHEMA}; delete it and it is measured again")
    try:
        return _from_dict(data, str(path))
    except (KeyError, TypeError) as error:
        raise LatencyError(f"latency table {path} is damaged ({error!r}); delete it and it is measured again") from None


def _from_dict(data: dict[str, Any], where: str) -> Contents:
    profile = Profile.from_dict(data["profile"], where)
    found = Contents(profile, Profile.from_dict(data["blocks_of"], where) if "blocks_of" in data else profile)
    found.reference_ms = data["reference_ms"]
    for entry in data["blocks"]:
        figures = (float(entry[name]) for name in ("ms", "width", "refill_ms"))
        found.blocks[_read_workload(entry)] = Block(*figures)
    for entry in data["failures"]:
        found.failures[_read_workload(entry)] = str(entry["reason"])
    for entry in data["nets"]:
        found.nets.append(Net(Architecture.from_dict(entry["architecture"]), tuple(map(float, entry["process_ms"]))))
    if len({len(net.process_ms) for net in found.nets}) > 1:
        raise TypeError("process_ms of different lengths")
    return found


def _written(workload: Workload) -> dict[str, Any]:
    spec, x = workload
    return {"spec": encode(spec), "input": x.to_dict()}


def _read_workload(entry: dict[str, Any]) -> Workload:
    return decode(entry["spec"], "spec"), FeatureType.from_dict(entry["input"])

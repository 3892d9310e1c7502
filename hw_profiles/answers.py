"""What a measuring process may answer: JSON of one shape, checked before anything is computed with it.

A device is not trusted: what it sends is data of known shape and size or an error, and is never executed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import from_json

from .profile import LatencyError
from .worker import COLD_RUNS, Endurance, Plan

DAY = 24 * 3600 * 10**9
"""Nanoseconds; no run may claim more."""

T = TypeVar("T", bound="Answer")

Run = Annotated[int, Field(ge=1, le=DAY)]
Seconds = Annotated[float, Field(ge=0, le=1e6)]
Celsius = Annotated[float, Field(ge=-100, le=200)]


class Answer(BaseModel):
    """What some answer has to look like."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class Visit(Answer):
    """One visit of a model: nanoseconds of each run, of processor time in all, and of runs out of an empty cache."""

    wall: Annotated[list[Run], Field(min_length=1)]
    cpu: Annotated[int, Field(ge=0, le=DAY)]
    cold: Annotated[list[Run], Field(max_length=COLD_RUNS)] = []


class Rounds(Answer):
    """the times of a measuring process"""

    rounds: Annotated[list[dict[str, Visit]], Field(min_length=1)]
    warm_up_ms: Annotated[float, Field(ge=0)]


class Window(Answer):
    """The runs of a second or so, and how hot the device was after them."""

    wall: Annotated[list[Run], Field(min_length=1)]
    seconds: Seconds
    celsius: Celsius | None


class Sustained(Answer):
    """the times of a sustained run"""

    cooled: Seconds
    celsius: Celsius | None
    windows: Annotated[list[Window], Field(min_length=1)]


class Facts(Answer):
    """the facts about a device"""

    processor: str
    cores: Annotated[int, Field(ge=1, le=1 << 16)]
    affinity: list[Annotated[int, Field(ge=0, le=1 << 16)]]
    system: str
    governor: str | None
    memory_bytes: Annotated[int, Field(ge=1)] | None
    python: str
    runtimes: dict[str, str]


class Files(Answer):
    """the files on a device"""

    files: dict[str, str]
    free: Annotated[int, Field(ge=0)]


class Ended(Answer):
    """the end of a measuring process"""

    code: Annotated[int, Field(ge=-64, le=255)] | None
    log: Annotated[str, Field(max_length=4096)]


def times(value: object, names: Collection[str], plan: Plan | Endurance) -> Mapping[str, Any]:
    """What a worker measured for `plan`, as `worker.interleave` or `worker.sustain` returned it there.

    Raises:
        LatencyError: of another shape, or of other models or more runs than were asked for.
    """
    if isinstance(plan, Endurance):
        sustained = parse(Sustained, value)
        _at_most(plan.max_runs, (len(window.wall) for window in sustained.windows))
        return sustained.model_dump()
    found = parse(Rounds, value)
    if not min(plan.minimum, plan.rounds) <= len(found.rounds) <= plan.rounds:
        raise LatencyError(f"the device answered with {len(found.rounds)} rounds, {plan.rounds} were asked for")
    for visits in found.rounds:
        if set(visits) != set(names):
            raise LatencyError("the device answered with other models than it was asked for")
        _at_most(plan.max_runs, (len(visit.wall) for visit in visits.values()))
    return found.model_dump()


def _at_most(runs: int, found: Iterable[int]) -> None:
    if max(found) > runs:
        raise LatencyError(f"the device answered with more than {runs} runs at a time")


def load(text: str | bytes) -> object:
    """The value of JSON text.

    Raises:
        LatencyError: it is none; shows its first line.
    """
    try:
        return from_json(text, allow_inf_nan=False)
    except ValueError:
        raise LatencyError(f"the device answered with something else than JSON: {first_line(text)!r}") from None


def parse(shape: type[T], value: object) -> T:
    """A value of one shape.

    Raises:
        LatencyError: it has another one; names the first place.
    """
    try:
        return shape.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = plain(".".join(map(str, first["loc"])))
        raise LatencyError(
            f"the device answered with something else than {shape.__doc__}"
            f"{f', at {where}' if where else ''}: {first['msg']}"
        ) from None


def first_line(text: str | bytes) -> str:
    """The first line that says anything, made `plain`."""
    start = text[:4000].decode(errors="replace") if isinstance(text, bytes) else text[:4000]
    return next((plain(line) for line in start.splitlines() if line.strip()), "")


def plain(line: str, length: int = 200) -> str:
    """A line of foreign text that is safe to show: no control characters, and not endless."""
    shown = "".join(c if c.isprintable() else "?" for c in line.rstrip())
    return shown if len(shown) <= length else shown[: length - 3] + "..."

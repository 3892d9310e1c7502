"""archfront device."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .common import DefaultsToList, Json, Quiet, print_json, print_table

if TYPE_CHECKING:
    from archfront.hw_profiles.profile import Profile
    from archfront.hw_profiles.protocol import LatencyResult

app = typer.Typer(
    cls=DefaultsToList,
    help="Devices that latency is measured on: list (the default), add NAME, show NAME, check NAME, remove NAME.",
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="What the device is called.")]
Seconds = Annotated[float, typer.Option(min=1, help="Longest time for timing the reference network.")]


@app.command()
def add(
    name: Name,
    ssh: Annotated[
        str | None, typer.Option(help="Reach it by ssh: user@host, user@host:port, or a known host.")
    ] = None,
    adb: Annotated[str | None, typer.Option(help="Reach it by adb: its serial number.")] = None,
    runtime: Annotated[str, typer.Option(help="What executes networks there.")] = "onnxruntime",
    provider: Annotated[str | None, typer.Option(help="Back end of the runtime: CUDAExecutionProvider, ...")] = None,
    threads: Annotated[int, typer.Option(min=1, help="Threads that compute one inference.")] = 1,
    cores: Annotated[str | None, typer.Option(help="Pin measuring to these cores: 4-7, or 0,2.")] = None,
    precision: Annotated[str, typer.Option(help="fp32, fp16, bf16 or int8.")] = "fp32",
    batch: Annotated[int, typer.Option(min=1, help="Inputs an inference.")] = 1,
    seconds: Seconds = 20.0,
    replace: Annotated[bool, typer.Option("--replace", help="Describe a device of that name anew.")] = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Describe a device: look at it, time a reference network there, measure its peaks, and keep all this.

    Without --ssh and --adb the device is this machine.
    """
    from archfront.console import make_reporter
    from archfront.hw_profiles import devices
    from archfront.hw_profiles.protocol import Schedule

    if ssh is not None and adb is not None:
        raise typer.BadParameter("give --ssh or --adb, not both", param_hint="--adb")
    if not replace:
        devices.require_free(name)
    way: dict[str, Any] = {}
    if ssh is not None:
        way = {"transport": "ssh", "address": with_port(ssh)}
    if adb is not None:
        way = {"transport": "adb", "address": adb}
    with make_reporter(quiet).track(f"Describing {name}", 4) as advance:
        added = devices.add(
            name,
            runtime,  # type: ignore[arg-type]  # what is no runtime is refused there
            **way,
            provider=provider,
            threads=threads,
            affinity=None if cores is None else core_numbers(cores),
            precision=precision,
            batch=batch,
            schedule=Schedule(max_seconds=seconds),
            peak_seconds=min(3.0, seconds),
            progress=lambda done, _, what: advance(done, what),
        )
    if as_json:
        print_json({**document(added.profile), "file": added.file, "calling_ms": added.calling.value_ms})
        return
    print_profile(added.profile, [("calling the runtime", f"{added.calling.value_ms:.3g} ms")])
    tell_noise(added.calling)
    typer.echo(f"\nKept in {added.file}")
    typer.echo(f"Use it: archfront search --device {name} ..., archfront profile --device {name} ...")


@app.command("list")
def list_devices(as_json: Json = False) -> None:
    """List the devices that were added, and what this machine offers without adding anything."""
    from archfront.hw_profiles.profile import (
        ENGINES,
        LOCAL,
        LatencyError,
        device_names,
        devices_folder,
        profile,
        shipped,
    )
    from archfront.hw_profiles.worker import installed

    found: dict[str, Profile | LatencyError] = {}
    for name in device_names():
        try:
            found[name] = profile(name)
        except LatencyError as error:  # one bad file must not hide the others
            found[name] = error
    here = [name for name, runtime in LOCAL.items() if installed(ENGINES[runtime].package)]
    if as_json:
        documents = [
            {"name": name, "error": str(each)} if isinstance(each, LatencyError) else document(each)
            for name, each in found.items()
        ]
        print_json({"folder": devices_folder(), "devices": documents, "this_machine": here, "shipped": [*shipped()]})
        return
    if found:
        titles = ("device", "reached by", "processor", "runtime", "threads", "precision", "batch", "reference", "added")
        print_table(titles, [summary(name, each) for name, each in found.items()], right=("threads", "batch"))
    else:
        typer.echo("No devices yet; archfront device add NAME describes this machine or another one.")
    typer.echo(f"\nAlways there, this machine as it is now: {', '.join(here)}")
    typer.echo(f"Brought along, measured on machines of that kind: {', '.join(shipped())}")


def summary(name: str, found: Profile | Exception) -> tuple[object, ...]:
    """A device as a row of the list."""
    if isinstance(found, Exception):
        return (name, "", str(found), "", "", "", "", "", "")
    reference = "" if found.reference_ms is None else f"{found.reference_ms:.3g} ms"
    runtime = f"{found.runtime} {found.runtime_version}"
    date = found.date or ""
    return (name, way(found), found.processor, runtime, found.threads, found.precision, found.batch, reference, date)


@app.command()
def show(name: Name, as_json: Json = False) -> None:
    """Show the profile of a device."""
    from archfront.hw_profiles.profile import profile

    found = profile(name)
    if as_json:
        print_json(document(found))
        return
    print_profile(found)


@app.command()
def check(name: Name, seconds: Seconds = 20.0, quiet: Quiet = False, as_json: Json = False) -> None:
    """Reach a device, compare it with its profile, and time the reference network again."""
    from archfront.console import make_reporter
    from archfront.hw_profiles import devices
    from archfront.hw_profiles.protocol import Schedule

    with make_reporter(quiet).track(f"Checking {name}", 3) as advance:
        checked = devices.check(
            name,
            Schedule(max_seconds=seconds),
            lambda done, _, what: advance(done, what),
        )
    now, ratio = checked.now.health, checked.ratio
    if as_json:
        print_json({"name": name, "profile": checked.profile.digest, "reference_ms": now.reference_ms, "ratio": ratio,
                    "noisy": now.noisy})  # fmt: skip
        return
    typer.echo(f"{name} is reachable ({way(checked.profile)}) and what its profile {checked.profile.digest} says.")
    typer.echo(f"Reference network: {now.reference_ms:.3g} ms{compared(ratio)}")
    tell_noise(checked.now)


def compared(ratio: float | None) -> str:
    """How the reference latency differs from before, in words."""
    if ratio is None:
        return ", nothing to compare with: it was not timed before"
    return f", {abs(ratio - 1):.1%} {'more' if ratio > 1 else 'less'} than when it was added"


@app.command()
def remove(name: Name) -> None:
    """Forget a device that was added; studies made with it keep what they have."""
    from archfront.hw_profiles import devices

    typer.echo(f"Removed {devices.remove(name)}")


# --------------------------------------------------------------------------- words


def with_port(address: str) -> str:
    """user@host:port as the address that ssh takes; others as they are."""
    return f"ssh://{address}" if re.fullmatch(r"[^:/]+:\d+", address) else address


def core_numbers(text: str) -> tuple[int, ...]:
    """The cores that "4-7" or "0,2" names, in order."""
    if not re.fullmatch(r"\d+(-\d+)?(,\d+(-\d+)?)*", text):
        raise typer.BadParameter(f"{text!r} names no cores; write 4-7, or 0,2", param_hint="--cores")
    found: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        found.update(range(int(first), int(last or first) + 1))
    if not found:
        raise typer.BadParameter(f"{text!r} names no cores; the smaller number comes first", param_hint="--cores")
    return tuple(sorted(found))


def way(found: Profile) -> str:
    """How a device is reached."""
    if found.address is None:
        return "this machine"
    return f"{found.transport} {found.address.removeprefix('ssh://')}"


def document(found: Profile) -> dict[str, Any]:
    """A profile as plain data."""
    return {**found.model_dump(), "digest": found.digest}


def print_profile(found: Profile, more: Sequence[tuple[str, str]] = ()) -> None:
    """Print a profile, a line a subject, and `more` lines."""
    print_table(("device", f"{found.name} ({way(found)})"), [*rows(found), *more])


def rows(found: Profile) -> list[tuple[str, str]]:
    """What a profile says of its device, a line a subject."""
    pinned = "" if found.affinity is None else f", pinned to {', '.join(map(str, found.affinity))}"
    cores = f"{found.cores} core{'s' * (found.cores > 1)}{pinned}"
    memory = "memory unknown" if found.memory_bytes is None else f"{found.memory_bytes / 2**30:.1f} GiB"
    runs = f"{found.threads} thread{'s' * (found.threads > 1)}, {found.precision}, batch {found.batch}, {found.layout}"
    return [
        ("processor", f"{found.processor}, {cores}, {memory}"),
        *([("accelerator", found.accelerator)] if found.accelerator else []),
        ("system", f"{found.system}, frequency governor {found.governor or 'unknown'}"),
        ("runtime", f"{found.runtime} {found.runtime_version}, {found.provider}"),
        ("runs", runs),
        ("reference network", _reference(found)),
        ("peaks", _peaks(found)),
        ("energy", found.energy or "not available"),
        ("profile", f"{found.digest}, protocol {found.protocol}{f', {found.date}' if found.date else ''}"),
    ]


def _reference(found: Profile) -> str:
    if found.reference_ms is None:
        return "not timed"
    spread = "" if found.reference_spread is None else f", median run {found.reference_spread:.2f} times that"
    return f"{found.reference_ms:.3g} ms{spread}"


def _peaks(found: Profile) -> str:
    said = [
        f"{rate / 1e9:.{digits}g} {unit}"
        for rate, digits, unit in (
            (found.flops_per_s, 4, "GFLOP/s"),
            (found.bytes_per_s, 3, "GB/s from memory"),
            (found.cache_bytes_per_s, 3, "GB/s from cache"),
        )
        if rate is not None
    ]
    return ", ".join(said) or "not measured"


def tell_noise(result: LatencyResult) -> None:
    """Say so if the machine was not quiet."""
    if result.noisy:
        health = result.health
        typer.echo(
            f"Noisy: the median run took {health.spread:.2f} times the best one, drift {health.drift:.0%}; "
            "other work is running there"
        )

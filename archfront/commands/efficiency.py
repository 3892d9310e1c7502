"""What `archfront profile` prints about efficiency, energy and accelerators."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import typer

from .common import print_table

if TYPE_CHECKING:
    from archfront.hw_profiles.accelerator import Design
    from archfront.hw_profiles.energy import Energy
    from archfront.hw_profiles.protocol import LatencyResult
    from archfront.hw_profiles.roofline import Efficiency
    from archfront.space.architecture import Architecture


def require_explainable(device: str) -> None:
    """Refuse, before anything is measured, a device whose latency cannot be explained."""
    from archfront.hw_profiles.efficiency import require_profiler
    from archfront.hw_profiles.profile import profile as find_profile

    require_profiler(find_profile(device))


def explain(name: str, architecture: Architecture, device: str, measured: LatencyResult) -> Efficiency:
    """Where the latency goes that was measured on a device."""
    from archfront.hw_profiles import efficiency
    from archfront.hw_profiles.profile import profile as find_profile

    return efficiency.explain(name, architecture, measured, find_profile(device))


SLOWEST = 12
"""Nodes that the table of an efficiency analysis shows."""


def print_efficiency(found: Efficiency) -> None:
    """The terms of the latency, memory, and the slowest nodes."""
    from archfront.hw_profiles.roofline import LEVELS

    typer.echo(f"{found.peaks}\n")
    rows = [(f"{level}", *map(_share(found), found.terms(level).to_dict().values())) for level in LEVELS]
    titles = ("ms with data from", "computing", "waiting for memory", "kernels", "calling")
    print_table(titles, rows, right=titles[1:])
    ideal, gap = 1e3 * found.ideal_s, 1e3 * found.gap_s
    typer.echo(
        f"\nComputational efficiency {found.efficiency:.1%}: {ideal:.3g} ms at the machine's peak, efficiency gap "
        f"{gap:.3g} ms.\nNode times are those of the profiler times {found.scale:.2f}."
    )
    if found.memory is not None:
        typer.echo(_memory_line(found))
    for flag in found.flags:
        typer.secho(f"Note: {flag}.", fg="yellow")
    typer.echo()
    _print_nodes(found)


def _share(found: Efficiency) -> Callable[[float], str]:
    return lambda seconds: f"{1e3 * seconds:.3g} ({seconds / found.latency_s:.0%})"


def _memory_line(found: Efficiency) -> str:
    from archfront.hw_profiles.metrics import metric

    assert found.memory is not None
    size, memory = metric("peak_bytes").format, found.memory
    asked = "does not say" if memory.allocator is None else f"handed out {size(memory.allocator)}"
    return (
        f"Peak activation memory of the exported graph: {size(memory.exported)}, {size(memory.in_place)} in place; "
        f"the runtime's allocator {asked}."
    )


def _print_nodes(found: Efficiency) -> None:
    """The slowest nodes, and what the others take together."""
    nodes = sorted(found.frame().to_dict(orient="records"), key=lambda row: -row["seconds"])
    titles = ("node", "operator", "ms", "share", "MFLOP", "KiB", "FLOP/byte", "efficiency", "attainable ms", "bound")
    print_table(titles, map(_cells, nodes[:SLOWEST]), right=titles[2:9])
    typer.echo(
        "MFLOP and FLOP/byte count a multiply-add as two operations; FLOPs (multiply-adds) above count it as one."
    )
    rest = sum(row["seconds"] for row in nodes[SLOWEST:])
    if nodes[SLOWEST:]:
        typer.echo(f"and {len(nodes) - SLOWEST} more nodes: {1e3 * rest:.3g} ms ({rest / found.latency_s:.1%})")


def _cells(row: Mapping[Hashable, Any]) -> tuple[str, ...]:
    moved = row["weight_bytes"] + row["activation_bytes"]
    return (
        row["name"],
        row["operator"],
        f"{1e3 * row['seconds']:.3g}",
        f"{row['share']:.1%}",
        f"{row['flops'] / 1e6:.4g}",
        f"{moved / 1024:,.0f}",
        f"{row['intensity']:.3g}",
        f"{row['efficiency']:.0%}" if row["flops"] else "",
        f"{1e3 * row['attainable_s']:.3g}",
        row["bound"],
    )


# --------------------------------------------------------------------------- energy


def measure_energy(architecture: Architecture, device: str) -> Energy | str:
    """Energy of one inference, or why it is not available."""
    from archfront.hw_profiles.energy import EnergyError, architecture_energy, find_meter
    from archfront.hw_profiles.profile import profile as find_profile

    found = find_profile(device)
    try:
        meter = find_meter("cuda" if found.device == "gpu" else "cpu")
    except EnergyError as error:
        return str(error).removeprefix("energy: ")
    return architecture_energy({"network": architecture}, found, meter)["network"]


def energy_row(found: Energy | str) -> tuple[str, str, str]:
    """The row of a table of metrics."""
    from archfront.hw_profiles.metrics import metric
    from archfront.reports.summary import with_spread

    of = metric("energy_mj")
    if isinstance(found, str):
        value, _, why = found.partition(" (")
        return of.title, value, why.removesuffix(")")
    measured = found.measurement()
    told = f"measured by {found.source}, {found.runs:,} runs; {found.watts:.3g} W, {found.idle_watts:.3g} W of it idle"
    return of.title, with_spread(of, measured.value, measured.spread), told


# --------------------------------------------------------------------------- accelerators


def accelerator_designs(architecture: Architecture, board: str) -> list[Design]:
    """The front of accelerator settings for a network, on one board or on "all"."""
    from archfront.hw_profiles.accelerator import configurations, explore, layers_of_architecture

    settings = configurations(None if board == "all" else board)
    return explore({"network": layers_of_architecture(architecture)}, settings)


def print_designs(designs: Sequence[Design]) -> None:
    """One row a design, fastest first."""
    if not designs:
        typer.echo("No setting of the accelerator fits the board with this network.")
        return
    typer.echo(
        "Accelerator settings that no other one beats in latency, multipliers and energy: modelled, not measured.\n"
    )
    titles = ("setting", "ms", "mJ", "W", "GOPS", "GOPS/W", "DSP", "BRAM")
    found = [design.estimate for design in designs]
    rows = [
        (
            e.config,
            *(f"{value:.4g}" for value in (e.latency_ms, e.energy_mj, e.watts, e.gops, e.gops_per_watt)),
            e.dsp,
            e.bram,
        )
        for e in found
    ]
    print_table(titles, rows, right=titles[1:])


# --------------------------------------------------------------------------- JSON


def plain(value: Efficiency | Energy | list[Design] | str) -> Any:
    """Plain data of what was found; energy that is not available says why."""
    from archfront.hw_profiles.energy import Energy
    from archfront.hw_profiles.roofline import Efficiency

    if isinstance(value, str):
        return {"available": False, "reason": value}
    if isinstance(value, Efficiency):
        return value.to_dict()
    if isinstance(value, Energy):
        return {"available": True, **vars(value)}
    return [design.estimate.to_dict() for design in value]

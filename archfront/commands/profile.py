"""archfront profile."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .common import Json, Quiet, input_type, print_json, print_table
from .efficiency import (
    accelerator_designs,
    energy_row,
    explain,
    measure_energy,
    plain,
    print_designs,
    print_efficiency,
    require_explainable,
)

if TYPE_CHECKING:
    from archfront.hw_profiles.cost import Cost
    from archfront.hw_profiles.protocol import LatencyResult
    from archfront.search.progress import Reporter
    from archfront.space.architecture import Architecture

COUNTED = ("macs", "params", "activations", "peak_bytes")


def profile(
    reference: Annotated[str | None, typer.Option(help="A published network, such as resnet50.")] = None,
    architecture: Annotated[Path | None, typer.Option(help="An architecture in a .json or .yaml file.")] = None,
    study: Annotated[str | None, typer.Option(help="A study, with --pick.")] = None,
    pick: Annotated[int | None, typer.Option(help="Number of a trial of the study.")] = None,
    input: Annotated[str | None, typer.Option(help="Another input: 3x224x224, 224x224 or 224.")] = None,
    device: Annotated[str, typer.Option(help="A device: local-cpu, or one of archfront device list.")] = "local-cpu",
    latency: Annotated[bool, typer.Option("--latency/--no-latency", help="Whether to measure latency.")] = True,
    seconds: Annotated[float, typer.Option(min=1, help="Longest time for measuring latency.")] = 30.0,
    parts: Annotated[bool, typer.Option("--parts", help="The cost of every part as well.")] = False,
    efficiency: Annotated[bool, typer.Option("--efficiency", help="Where the latency goes, node by node.")] = False,
    html: Annotated[Path | None, typer.Option(help="A page with the figures of --efficiency.")] = None,
    energy: Annotated[
        bool, typer.Option("--energy", help="Energy of an inference, where a counter measures it.")
    ] = False,
    accelerator: Annotated[
        str | None, typer.Option(metavar="BOARD", help="Accelerator designs for it: zynq7020, ultra96, zcu104 or all.")
    ] = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Count what one network costs, exactly, and measure its latency on this machine."""
    from archfront.console import make_reporter
    from archfront.hw_profiles.cost import cost

    if (efficiency or html is not None) and not latency:
        raise typer.BadParameter("explains a measured latency: leave --no-latency out", param_hint="--efficiency")
    if efficiency or html is not None:
        require_explainable(device)
    name, found = _named(reference, architecture, study, pick)
    if input is not None:
        found = _refed(found, input)
    counted = cost(found)
    measured = _measure(found, device, seconds, make_reporter(quiet)) if latency else None
    explained = explain(name, found, device, measured) if measured is not None and (efficiency or html) else None
    if explained is not None and html is not None:
        from archfront.reports.efficiency import write_page

        write_page([explained], html, about=f"Input {found.input}, on {device}")
    joules = measure_energy(found, device) if energy else None
    designs = accelerator_designs(found, accelerator) if accelerator is not None else None
    if as_json:
        document = _document(name, found, counted, measured, parts)
        more = {"efficiency": explained, "energy": joules, "accelerator": designs}
        print_json(document | {key: plain(value) for key, value in more.items() if value is not None})
        return
    typer.echo(f"{name}, input {found.input}, output {found.output}\n")
    rows = [*_cost_rows(counted), *(_latency_rows(measured) if measured else [])]
    print_table(("metric", "value", ""), rows + ([energy_row(joules)] if joules is not None else []))
    if parts:
        typer.echo()
        _print_parts(found, counted)
    if explained is not None:
        typer.echo()
        print_efficiency(explained)
    if designs is not None:
        typer.echo()
        print_designs(designs)
    if html is not None:
        typer.echo(f"\nFigures in {html}")


def _named(reference: str | None, file: Path | None, study: str | None, pick: int | None) -> tuple[str, Architecture]:
    """The network that the options name, and what to call it."""
    if sum(option is not None for option in (reference, file, study)) != 1:
        raise typer.BadParameter("give one of --reference, --architecture and --study (with --pick)")
    if (study is None) != (pick is None):
        raise typer.BadParameter("--study and --pick go together", param_hint="--pick")
    if reference is not None:
        from archfront.space.references import reference as published

        return reference, published(reference).architecture()
    if file is not None:
        from archfront.space.architecture import Architecture

        return file.name, Architecture.load(file)
    return f"{study}, trial {pick}", _of_study(str(study), pick)


def _of_study(study: str, pick: int | None) -> Architecture:
    from archfront.options import find_study
    from archfront.reports.results import read_trials
    from archfront.search.study import StudyError

    opened = find_study(study)
    trials = read_trials(opened)
    found = next((trial.architecture for trial in trials if trial.number == pick), None)
    if found is None:
        raise StudyError(f"{opened.path} has no trial {pick}; it has {len(trials)}, counted from 0")
    return found


def _refed(architecture: Architecture, text: str) -> Architecture:
    """The same network on another input."""
    from archfront.space.architecture import Architecture

    return Architecture(input_type(text, architecture.input.shapes[0][0]), architecture.network)


def _measure(architecture: Architecture, device: str, seconds: float, reporter: Reporter) -> LatencyResult:
    from archfront.hw_profiles.profile import profile as find_profile
    from archfront.hw_profiles.protocol import Schedule, measure

    with reporter.track("Measuring latency", 1) as advance:
        return measure(
            {"network": architecture},
            find_profile(device),
            Schedule(max_seconds=seconds),
            lambda done, total, what: advance(done, what, total),
        )["network"]


def _cost_rows(counted: Cost) -> list[tuple[str, str, str]]:
    from archfront.hw_profiles.metrics import metric

    return [
        (metric(name).title, metric(name).format(getattr(counted, name)), f"{getattr(counted, name):,} (exact)")
        for name in COUNTED
    ]


def _latency_rows(result: LatencyResult) -> list[tuple[str, str, str]]:
    from archfront.hw_profiles.metrics import metric
    from archfront.reports.summary import with_spread

    measurement, of = result.measurement(), metric("latency_ms")
    percentiles = ", ".join(f"{percent} %: {of.format(result.percentile(percent))}" for percent in (50, 90, 99))
    rows = [
        (
            of.title,
            with_spread(of, measurement.value, measurement.spread),
            f"measured, {result.count:,} runs, best case",
        ),
        ("  all runs", percentiles, f"other work on the core in {result.contention:.0%} of the visits"),
    ]
    if result.noisy:
        rows.append(("", "noisy machine", "measure again on a quiet one before small differences decide"))
    return rows


def _print_parts(architecture: Architecture, whole: Cost) -> None:
    from archfront.hw_profiles.cost import part_cost

    rows = []
    for path, spec, x in architecture.parts:
        part = part_cost(spec, x)
        share = f"{part.macs / max(1, whole.macs):.1%}"
        cells = (f"{part.macs:,}", share, f"{part.params:,}", f"{part.activations:,}", f"{part.peak_bytes:,}")
        rows.append((path, repr(spec), str(x), *cells))
    titles = ("part", "spec", "input", "FLOPs", "share", "params", "activations", "peak bytes")
    print_table(titles, rows, right=titles[3:])


def _document(
    name: str, architecture: Architecture, counted: Cost, measured: LatencyResult | None, parts: bool
) -> dict[str, Any]:
    from archfront.hw_profiles.cost import part_cost

    metrics = {key: m.to_dict() for key, m in counted.measurements().items()}
    document: dict[str, Any] = {"name": name, "digest": architecture.digest, "input": str(architecture.input)}
    if measured is not None:
        metrics["latency_ms"] = measured.measurement().to_dict()
        document |= {
            "profile": measured.profile,
            "percentiles_ms": {str(percent): measured.percentile(percent) for percent in (50, 90, 99)},
            "noisy": measured.noisy,
        }
    document["metrics"] = metrics
    if parts:
        document["parts"] = [
            {"path": path, "spec": repr(spec), "input": str(x), **vars(part_cost(spec, x))}
            for path, spec, x in architecture.parts
        ]
    return document

"""archfront blocks."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .common import DefaultsToList, Json, Quiet, print_json, print_table

if TYPE_CHECKING:
    from archfront.hw_profiles.cost import Cost
    from archfront.hw_profiles.profile import Profile
    from archfront.hw_profiles.table import LatencyTable
    from archfront.space.spec import Spec

app = typer.Typer(cls=DefaultsToList, help="The block library: list (the default) or show NAME.")


@app.command("list")
def list_blocks(
    kind: Annotated[str | None, typer.Option(help="Only one kind: gate, mixer, block, stem, ...")] = None,
    search: Annotated[str | None, typer.Option(help="Only where this stands in name, description or paper.")] = None,
    device: Annotated[
        str, typer.Option(help="The device whose latencies are shown, if they were measured.")
    ] = "local-cpu",
    latency: Annotated[bool, typer.Option("--latency", help="Measure what was not measured there yet.")] = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """List blocks with kind, choices, paper, and what they cost at a standard input.

    The standard input is a map of 128x28x28 (for a stem an image of 112x112); fields have their defaults.
    """
    from archfront import catalogue, standard
    from archfront.hw_profiles.profile import profile

    classes = catalogue.blocks(kind, search)
    of = profile(device)
    table = _measured(classes, of, quiet) if latency else standard.measured(of)
    costs = {cls: standard.standard_cost(cls) for cls in classes}
    times = {cls: standard.latency_ms(table, cls) for cls in classes}
    if as_json:
        print_json([catalogue.entry(c) | _standard(costs[c], times[c]) for c in classes])
        return
    print_table(
        ("block", "kind", "params", "FLOPs", *(("latency",) if table else ()), "choices", "paper"),
        [
            (
                cls.__name__,
                cls.kind,
                *_shown(costs[cls]),
                *((_ms(times[cls]),) if table else ()),
                ", ".join(choice["name"] for choice in catalogue.choices(cls)),
                _origin(catalogue.paper(cls.paper)),
            )
            for cls in classes
        ],
        right=("params", "FLOPs", "latency"),
    )
    typer.echo(f"\n{len(classes)} blocks; archfront blocks show NAME says what one computes and what can be chosen.")
    if table is None:
        typer.echo("--latency measures them on this machine, and later lists show it.")


def _measured(classes: list[type[Spec]], of: Profile, quiet: bool) -> LatencyTable:
    from archfront import standard
    from archfront.console import make_reporter

    with make_reporter(quiet).track("Measuring blocks", 1) as advance:
        return standard.measure(classes, of, lambda done, total, what: advance(done, what, total))


def _standard(cost: Cost | None, ms: float | None) -> dict[str, Any]:
    counted = None if cost is None else {"params": cost.params, "macs": cost.macs}
    return {"standard": counted and counted | {"latency_ms": ms}}


def _shown(cost: Cost | None) -> tuple[str, str]:
    from archfront.hw_profiles.metrics import metric

    if cost is None:
        return "–", "–"
    return metric("params").format(cost.params), metric("macs").format(cost.macs)


def _ms(value: float | None) -> str:
    from archfront.hw_profiles.metrics import metric

    return "–" if value is None else metric("latency_ms").format(value)


@app.command()
def show(name: Annotated[str, typer.Argument(metavar="NAME")], as_json: Json = False) -> None:
    """Show what a block computes, what can be chosen in it, its paper, and the reference architectures that use it."""
    from archfront import catalogue
    from archfront.space.spec import registry

    cls = registry.named(name)
    found = catalogue.entry(cls)
    if as_json:
        print_json({**found, "docstring": inspect.cleandoc(cls.__doc__ or "")})
        return
    typer.echo(f"{found['name']} ({found['kind']}){' · ' + found['key'] if found['key'] else ''}\n")
    typer.echo(inspect.cleandoc(cls.__doc__ or ""))
    typer.echo()
    rows = [(f["name"], f["type"], "(required)" if f["required"] else f["spelling"]) for f in found["fields"]]
    print_table(("field", "type", "default"), rows)
    typer.echo(f"\nPaper: {cls.paper or 'none, a textbook operator'}")
    typer.echo(f"In reference architectures: {', '.join(found['references']) or 'none'}")


def _origin(paper: dict[str, Any] | None) -> str:
    if paper is None:
        return "–"
    authors = paper["authors"].split(",")
    return f"{authors[0]}{' et al.' if len(authors) > 1 else ''}, {paper['year']}, {paper['title']}"

"""archfront replay."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .common import Json, print_json, print_table


def replay(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Finished experiments: a parquet or .csv file.")],
    objectives: Annotated[str, typer.Option(help='Columns, such as "accuracy:max, latency_ms:min".')],
    sites: Annotated[str, typer.Option(help="Columns that hold choices, joined by commas; patterns allowed.")] = "",
    budget: Annotated[str, typer.Option(help='Bounds on columns, such as "latency_ms<=5, connected>=1".')] = "",
    known: Annotated[str, typer.Option(help="Objectives that the surrogate may look up before choosing.")] = "",
    sampler: Annotated[str, typer.Option(help="surrogate, nsga2, nsga3, tpe, gp, qmc or random.")] = "surrogate",
    trials: Annotated[int, typer.Option(min=1, help="Different rows to evaluate.")] = 200,
    population: Annotated[int, typer.Option(min=2, help="Of NSGA; random candidates others start with.")] = 12,
    seed: Annotated[int, typer.Option(help="Of everything random.")] = 0,
    storage: Annotated[str | None, typer.Option(help="An Optuna storage URL; the same command then resumes.")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write every evaluation to this .csv.")] = None,
    as_json: Json = False,
) -> None:
    """Search a table of finished experiments as if nothing in it were known, and say what is missing of its front."""
    from archfront.evaluators.table import Table, directions
    from archfront.hw_profiles.metrics import METRICS
    from archfront.search.samplers import make_sampler
    from archfront.search.tables import Replay, Rows
    from archfront.space.files import write_text

    table = Table.read(file, _names(sites)).within(budget)
    search = Replay(table, directions(objectives, {name: m.direction for name, m in METRICS.items()}), seed)
    source = Rows(search, _names(known))
    search.run(search.study(make_sampler(sampler, population, seed, source), storage), trials)
    results = search.results()
    if output is not None:
        write_text(output, results.to_csv(index=False))
    names = list(search.objectives)
    front = results[results["front"]].sort_values(names[0])
    columns = ["trial", *table.sites, *names, "origin"]
    reference = dict(zip(names, search.reference.tolist(), strict=True))
    regret = float(results["regret"].iloc[-1])
    if as_json:
        rows = front[columns].to_dict("records")
        print_json(
            {"rows": len(table), "evaluated": len(results), "reference": reference, "regret": regret, "front": rows}
        )
        return
    cells = [
        [f"{value:g}" if isinstance(value, float) else value for value in row] for row in front[columns].to_numpy()
    ]
    print_table(columns, cells, right=["trial", *names])
    corner = ", ".join(f"{name} {value:g}" for name, value in reference.items())
    typer.echo(
        f"\n{len(results)} of {len(table):,} rows evaluated; {regret:.1%} of the front's hypervolume is missing."
    )
    typer.echo(f"Hypervolume is counted from the median of the rows: {corner}.")


def _names(text: str) -> list[str]:
    return [item.strip() for item in text.split(",") if item.strip()]

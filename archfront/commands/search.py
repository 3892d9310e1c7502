"""archfront search."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .common import Json, Quiet, kept_on_interrupt, numbers, print_json, print_table

if TYPE_CHECKING:
    from archfront.api import Result
    from archfront.search.final import Finalist

Text = str | None
Count = int | None

COLUMNS = {
    "accuracy": "val. accuracy",
    "test_accuracy": "test accuracy",
    "latency_ms": "latency",
    "params": "params",
    "macs": "FLOPs",
}
"""What is printed of the front, besides other objectives; the report has everything."""


def search(
    config: Annotated[Path | None, typer.Option(help="A study.toml; options change what it says.")] = None,
    study: Annotated[
        Path | None,
        typer.Option(help="Folder of the study, or its name in ./runs; an existing one goes on as it was set up."),
    ] = None,
    name: Annotated[
        Text, typer.Option(help="Short for --study runs/NAME in a new study; SPACE-DATA by default.")
    ] = None,
    space: Annotated[Text, typer.Option(help="A ready space (archfront spaces), .yaml/.json, or file.py:name.")] = None,
    data: Annotated[Text, typer.Option(help='"digits", an image folder, parquet, .npz, or IDX files.')] = None,
    device: Annotated[Text, typer.Option(help="A device: local-cpu, one of archfront device list, or a .toml.")] = None,
    budget: Annotated[Text, typer.Option(help='Such as "latency<=5ms, params<=2M".')] = None,
    objectives: Annotated[Text, typer.Option(help="Such as accuracy,latency,params; accuracy comes first.")] = None,
    trials: Annotated[Count, typer.Option(help="Candidates to evaluate.")] = None,
    sampler: Annotated[Text, typer.Option(help="surrogate, nsga2, nsga3, tpe, gp, qmc or random.")] = None,
    minutes: Annotated[float | None, typer.Option(help="Stop proposing after so long, by the clock.")] = None,
    patience: Annotated[int | None, typer.Option(help="Stop after so many without gain in hypervolume.")] = None,
    epochs: Annotated[Count, typer.Option(help="Training of the shared weights.")] = None,
    evaluator: Annotated[
        Text, typer.Option(help="What rates candidates: supernet, alone (trains each), or table:FILE (looks them up).")
    ] = None,
    sites: Annotated[
        Text, typer.Option(help="With a table: columns that hold choices, joined by commas; patterns allowed.")
    ] = None,
    known: Annotated[
        Text, typer.Option(help="With a table: columns known before a row is evaluated, such as params,macs.")
    ] = None,
    alone_epochs: Annotated[Count, typer.Option(help="Training of each candidate, with --evaluator alone.")] = None,
    final_epochs: Annotated[Count, typer.Option(help="Fine-tuning of each member of the front.")] = None,
    members: Annotated[Count, typer.Option(help="Members of the front that are fine-tuned and measured.")] = None,
    references: Annotated[Text, typer.Option(help="Published networks to measure beside them: resnet18,dla34.")] = None,
    blocks_from: Annotated[
        Text, typer.Option(help="A study, on another device too, whose block latencies are taken.")
    ] = None,
    size: Annotated[Text, typer.Option(help="Resize images to HEIGHTxWIDTH.")] = None,
    limit: Annotated[Count, typer.Option(help="Use at most this many training and validation images.")] = None,
    skip_bad: Annotated[
        bool | None, typer.Option("--skip-bad/--no-skip-bad", help="Leave out unusable images.")
    ] = None,
    seed: Annotated[Count, typer.Option(help="Of everything random.")] = None,
    storage: Annotated[Text, typer.Option(help="Any Optuna storage URL, instead of the study's journal.")] = None,
    backend: Annotated[Text, typer.Option(help="local, or ray: candidates on the workers of a Ray cluster.")] = None,
    cluster: Annotated[
        Text, typer.Option(help="With --backend ray: HOST:PORT of a running cluster, or auto; else one starts here.")
    ] = None,
    workers: Annotated[Count, typer.Option(help="With --backend ray: processes, one a CPU by default.")] = None,
    threads: Annotated[int, typer.Option(min=1, help="Of torch; one is fastest for small networks.")] = 1,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Search for the best networks within a budget; the same command resumes.

    Ends with the front, a report, and the exported best network. Interrupting it at any moment loses nothing but the
    candidate in flight.
    """
    from archfront import api
    from archfront.console import make_reporter
    from archfront.options import base_config, check_known, configure, default_folder, folder_of
    from archfront.search.study import Study

    from .table import SCHEME, search_table

    if study is not None and name is not None:
        raise typer.BadParameter("give --study or --name, not both", param_hint="--name")
    folder = None if study is None else folder_of(study)
    options: dict[str, Any] = {
        "space": space, "data": data, "device": device, "budget": budget, "trials": trials, "sampler": sampler,
        "minutes": minutes, "patience": patience, "epochs": epochs, "final_epochs": final_epochs,
        "evaluator": evaluator, "alone_epochs": alone_epochs,
        "members": members, "limit": limit, "blocks_from": blocks_from,
        "skip_bad": skip_bad, "seed": seed, "storage": storage, "backend": backend, "cluster": cluster, "workers": workers,
        "objectives": _names(objectives), "references": _names(references),
        "size": None if size is None else _size(size),
    }  # fmt: skip
    if (evaluator or "").startswith(SCHEME):
        of_tables = {"sites": sites, "known": _names(known)}
        search_table({"config": config, **of_tables, **options}, folder, name, make_reporter(quiet), as_json)
        return
    for option, given in (("--sites", sites), ("--known", known)):
        if given is not None:
            raise typer.BadParameter("goes with --evaluator table:FILE", param_hint=option)
    if folder is not None:
        check_known(folder, (config, *options.values()))
    settings = configure(base_config(config, folder), options, spelling="--{}")
    opened = Study(folder or default_folder(settings, name))
    with kept_on_interrupt(opened.path, f"archfront search --study {shlex.quote(str(opened.path))}"):
        result = api.search(opened, settings, make_reporter(quiet), threads)
    show(result, as_json)


def _names(text: str | None) -> list[str] | None:
    return None if text is None else [item.strip() for item in text.split(",")]


def _size(text: str) -> tuple[int, int]:
    given = numbers(text, "--size", (1, 2))
    return given[0], given[-1]


def show(result: Result, as_json: bool) -> None:
    """Print the front and where the files are."""
    from archfront.finalists import default_name, finalist_of
    from archfront.hw_profiles.metrics import METRICS
    from archfront.reports.summary import answer, front_table
    from archfront.search.final import load_finalists

    study = result.study
    code = study.exports / f"{default_name(study, finalist_of(study))}.py"
    if as_json:
        print_json(
            {
                "study": study.path,
                "trials": len(result.trials),
                "failed": int((result.trials["state"] == "failed").sum()),
                "picked": result.picked,
                "front": [_member(finalist) for finalist in load_finalists(study) if finalist.front],
                "report": study.report_file,
                "results": study.results_file,
                "export": code,
            }
        )
        return
    table = front_table(result.data)
    shown = COLUMNS | {name: METRICS[name].title for name in result.data.objectives if name not in COLUMNS}
    places = {title: place for place, title in enumerate(table["titles"])}
    named = ((places.get(METRICS[name].title), words) for name, words in shown.items())
    columns = [(place, words) for place, words in named if place is not None]  # of what members were measured in
    titles = ("trial", *(title for _, title in columns))
    rows = [
        ("*" if row["picked"] else "", row["number"], *(row["cells"][i] for i, _ in columns)) for row in table["rows"]
    ]
    print_table(("", *titles), rows, right=titles)
    typer.echo(f"\n{answer(result.data).headline} (*).")
    typer.echo(f"Report: {study.report_file}")
    typer.echo(f"Best network: {code}")


def _member(finalist: Finalist) -> dict[str, Any]:
    return {
        "number": finalist.number,
        "digest": finalist.architecture.digest,
        "picked": finalist.picked,
        "noisy": finalist.noisy,
        "metrics": {name: m.to_dict() for name, m in finalist.measurements.items()},
    }

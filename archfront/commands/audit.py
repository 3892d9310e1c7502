"""archfront audit."""

from __future__ import annotations

import shlex
import sys
from typing import Annotated, Any

import typer

from .common import Json, Quiet, StudyPath, kept_on_interrupt, print_json, print_table


def audit(
    study: StudyPath,
    archs: Annotated[int, typer.Option(min=4, help="Networks spread over the range of cost.")] = 32,
    narrow: Annotated[int, typer.Option(min=0, help="Networks in a narrow band of cost, besides.")] = 0,
    band: Annotated[float, typer.Option(help="How narrow: largest relative difference in multiply-adds.")] = 0.1,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Of each training; those of the supernet by default.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Trainings of each network.")] = 2,
    backend: Annotated[
        str | None, typer.Option(help="local, or ray: trainings on a Ray cluster; as in the study by default.")
    ] = None,
    cluster: Annotated[
        str | None,
        typer.Option(help="With --backend ray: HOST:PORT of a running cluster, or auto; else one starts here."),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="With --backend ray: trainings at a time, one a CPU by default.")
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="Of torch; one is fastest for small networks.")] = 1,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Train networks alone and say how well the supernet of a study orders them; the same command resumes.

    Compares with counting parameters and multiply-adds and with zero-cost proxies, on validation images only. Writes
    audit.json and audit.parquet in the study, and its report again.
    """
    from archfront import api
    from archfront.console import make_reporter
    from archfront.options import configure, find_study
    from archfront.reports.audit import TITLES, facts, interval
    from archfront.search.audit import AuditOptions, audit_study

    opened = find_study(study)
    options = AuditOptions(archs=archs, narrow=narrow, band=band, seeds=seeds, epochs=epochs)
    asked = {"backend": backend, "cluster": cluster, "workers": workers}
    where = configure(opened.config, asked, spelling="--{}")
    with kept_on_interrupt(opened.path, shlex.join(["archfront", *sys.argv[1:]])):
        found = audit_study(opened, options, make_reporter(quiet), threads, where)
    page = api.load(opened.path).report()
    if as_json:
        print_json(found)
        return
    for group in found["groups"]:
        typer.echo(f"\n{TITLES[group['name']]}: {facts(group, found)}")
        if group["ceiling"]:
            typer.echo(f"Between seeds: Spearman {interval(group['ceiling']['spearman'])}")
        elif seeds > 1:
            typer.echo("Between seeds: Spearman undefined, for one seed made all networks equally accurate")
        titles = (
            "rating",
            "Spearman",
            "Kendall",
            "beyond multiply-adds",
            f"best {group['top']} found",
            "regret, points",
        )
        print_table(titles, [_row(rating) for rating in group["ratings"]], right=titles[1:])
        typer.echo(group["verdict"])
    typer.echo(f"\nNumbers: {opened.audit_file} (and .parquet)")
    typer.echo(f"Report: {page}")


def _row(rating: dict[str, Any]) -> tuple[str, ...]:
    from archfront.reports.audit import row

    words = row(rating)
    return words["title"], words["spearman"], words["kendall"], words["beyond"], words["recall"], words["regret"]

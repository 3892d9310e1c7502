"""archfront report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .common import Json, StudyPath, print_json


def report(
    study: StudyPath,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="By default report.html in the study.")] = None,
    as_json: Json = False,
) -> None:
    """Write the report and the table of a study again, finished or not."""
    from archfront import api
    from archfront.reports.results import write_results

    result = api.load(study)
    write_results(result.study, result.data)
    page = result.report(output)
    table = result.study.results_file
    if as_json:
        print_json({"report": page, "results": [table, table.with_suffix(".csv")], "trials": len(result.trials)})
        return
    typer.echo(f"Report: {page}")
    typer.echo(f"Table of {len(result.trials):,} candidates: {table} (and .csv)")

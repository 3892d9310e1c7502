"""archfront export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .common import Json, Quiet, StudyPath, print_json


def export(
    study: StudyPath,
    pick: Annotated[int | None, typer.Option(help="Number of a trial; by default the picked finalist.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder; by default exports in the study.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Of the files and of the function in the code.")] = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Write a network as Python source that needs only torch, its weights, ONNX, and a model card.

    The files are checked to compute the same as the network that was measured before they appear. Finalists come
    fine-tuned; other trials with the weights that they were rated with.
    """
    from archfront import api
    from archfront.console import make_reporter

    result = api.load(study)
    with make_reporter(quiet).track("Exporting and checking", 1) as advance:
        written = result.export(pick, output, name)
        advance(1, "")
    if as_json:
        files = {"code": written.code, "weights": written.weights, "onnx": written.onnx, "card": written.card}
        print_json({**files, "differences": dict(written.differences)})
        return
    for path in written.paths:
        typer.echo(str(path))
    checks = ", ".join(f"{kind} within {difference:.1g}" for kind, difference in written.differences.items())
    typer.echo(f"Outputs agree with the measured network: {checks}.")

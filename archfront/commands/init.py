"""archfront init."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def init(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to write it.")] = Path("study.toml"),
    force: Annotated[bool, typer.Option("--force", help="Overwrite a file that is there.")] = False,
) -> None:
    """Write a configuration file with every setting, its default, and what it means."""
    from archfront.search.config import StudyConfig, dump
    from archfront.space.files import write_text

    if file.exists() and not force:
        raise typer.BadParameter(f"{file} is there already; --force overwrites it", param_hint="FILE")
    write_text(file, dump(StudyConfig(), commented=True))
    typer.echo(f"{file} is written; edit it, then: archfront search --config {file}")

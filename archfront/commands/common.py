"""What commands share: options, tables, JSON, and values that people type."""

from __future__ import annotations

import json
import math
import re
import signal
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

if TYPE_CHECKING:
    from rich.console import Console

    from archfront.space.types import Feature

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress; results and errors only.")]
StudyPath = Annotated[str, typer.Argument(metavar="STUDY", help="Folder of the study, or its name in ./runs.")]


class DefaultsToList(TyperGroup):
    """A group of commands in which `list` is meant where none is named."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put `list` in front of options that are no help."""
        if not args or (args[0].startswith("-") and args[0] not in ("--help", "-h")):
            args = ["list", *args]
        return super().parse_args(ctx, args)


def stdout() -> Console:
    """Standard output; lines are not broken where no person watches."""
    from rich.console import Console

    return Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 1000)


def print_table(titles: Sequence[str], rows: Iterable[Sequence[object]], right: Sequence[str] = ()) -> None:
    """Print rows of plain text; columns whose title is in `right` are aligned there."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for title in titles:
        table.add_column(Text(title), justify="right" if title in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(str(cell)) for cell in row))
    stdout().print(table, soft_wrap=False)


def print_json(value: Any) -> None:
    """Print one JSON document; what is no finite number becomes null."""
    print(json.dumps(_plain(value), indent=2, ensure_ascii=False, allow_nan=False))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, (bool, int, str)) else str(value)


def numbers(text: str, option: str, counts: Sequence[int]) -> tuple[int, ...]:
    """Whole numbers joined by "x", such as 3x224x224; as many as one of `counts`."""
    if not re.fullmatch(r"[1-9]\d*(x[1-9]\d*)*", text) or len(text.split("x")) not in counts:
        shapes = " or ".join("x".join(("3", "224", "224")[-count:]) for count in counts)
        raise typer.BadParameter(f"{text!r} is no size; write it like {shapes}", param_hint=option)
    return tuple(map(int, text.split("x")))


def input_type(text: str, channels: int = 3) -> Feature:
    """The input that "3x224x224", "224x224" or "224" means."""
    from archfront.space.types import Image

    given = numbers(text, "--input", (1, 2, 3))
    if len(given) == 3:
        return Image(*given)
    return Image(channels, given[0], given[-1])


@contextmanager
def kept_on_interrupt(study: Path, command: str) -> Iterator[None]:
    """Take SIGTERM for Ctrl-C, and say after either that `command` goes on with what the study keeps."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        if (study / "study.toml").exists():
            typer.echo(f"\nInterrupted. Everything so far is kept in {study}; go on with:\n  {command}", err=True)
        else:
            typer.echo("\nInterrupted before anything was done.", err=True)
        raise typer.Exit(130) from None
    finally:
        signal.signal(signal.SIGTERM, before)

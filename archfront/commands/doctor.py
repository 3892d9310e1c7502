"""archfront doctor."""

from __future__ import annotations

import sys

import typer

from .common import Json, print_json

MARKS = {"ok": ("ok", "green"), "missing": ("--", "yellow"), "broken": ("!!", "red")}


def doctor(as_json: Json = False) -> None:
    """Check what is installed and which devices and runtimes work; really runs a tiny network on each."""
    from archfront.doctor import Check, checks

    found: list[Check] = []
    for check in checks():
        found.append(check)
        if not as_json:
            mark, colour = MARKS[check.state]
            help = f" ({check.help})" if check.help and check.state != "ok" else ""
            typer.secho(f"{mark}  ", fg=colour, nl=False)
            typer.echo(f"{check.name}: {check.detail or check.state}{help}")
            sys.stdout.flush()
    fatal = [check.name for check in found if check.fatal]
    if as_json:
        print_json({"ok": not fatal, "checks": [vars(check) for check in found]})
    elif fatal:
        typer.echo(f"\narchfront needs these mended: {', '.join(fatal)}", err=True)
    if fatal:
        raise typer.Exit(1)

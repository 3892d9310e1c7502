"""The command line: `archfront COMMAND`. Errors become one message and an exit code here, and nowhere else."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from .commands import audit, blocks, device, doctor, export, init, profile, report, search, spaces

EXIT_CODES = """Exit codes: 0 done · 1 unexpected error, or files cannot be written · 2 wrong usage or input ·
3 nothing keeps the budget · 130 interrupted"""

DEBUG = "debug"


class Commands(TyperGroup):
    """All commands, with one way to fail."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command; an error made for the user is told without a traceback."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            typer.echo("\nInterrupted.", err=True)
            raise typer.Exit(130) from None
        except Exception as error:
            code = exit_code(error)
            if code is None or ctx.params[DEBUG]:
                raise
            typer.secho("Error: ", fg="red", bold=True, nl=False, err=True)
            typer.echo(str(error), err=True)
            raise typer.Exit(code) from None


def exit_code(error: Exception) -> int | None:
    """The exit code of an error that was raised on purpose; None of any other."""
    if "archfront.space" not in sys.modules:
        return None  # nothing was imported yet that could have raised one
    from archfront.search.budget import BudgetError
    from archfront.space.errors import ArchfrontError
    from archfront.space.files import StorageError

    if isinstance(error, BudgetError):
        return 3
    if isinstance(error, StorageError):
        return 1
    return 2 if isinstance(error, ArchfrontError) else None


app = typer.Typer(
    name="archfront",
    cls=Commands,
    help="Find neural networks that fit a hardware budget.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from . import __version__

        typer.echo(f"archfront {__version__}")
        raise typer.Exit


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of every error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Find neural networks that fit a hardware budget."""


for command in (search.search, report.report, export.export, audit.audit, profile.profile):
    app.command()(command)
app.add_typer(blocks.app, name="blocks")
app.add_typer(spaces.app, name="spaces")
app.add_typer(device.app, name="device")
app.command()(init.init)
app.command()(doctor.doctor)


def main() -> None:
    """The entry point of the `archfront` program."""
    app()

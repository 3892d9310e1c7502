"""archfront spaces."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .common import DefaultsToList, Json, input_type, print_json, print_table

if TYPE_CHECKING:
    from archfront.space.space import Space

app = typer.Typer(cls=DefaultsToList, help="Search spaces: list (the default), show NAME, or size NAME.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="A ready space, a .yaml/.json file, or file.py:name.")]
Input = Annotated[str | None, typer.Option(help="Image type, such as 3x32x32; by default that, or the file's own.")]
Classes = Annotated[int, typer.Option(min=2, help="Number of classes, for ready spaces.")]


@app.command("list")
def list_spaces(as_json: Json = False) -> None:
    """List the ready spaces and what they are for."""
    from archfront.space.presets import PRESETS

    if as_json:
        print_json([{"name": preset.name, "purpose": preset.purpose} for preset in PRESETS.values()])
        return
    print_table(("space", "purpose"), [(preset.name, preset.purpose) for preset in PRESETS.values()])


@app.command()
def show(name: Name, input: Input = None, classes: Classes = 10, as_json: Json = False) -> None:
    """Show a space as a tree, with every choice and the exact number of architectures."""
    from archfront.space.presets import PRESETS

    space = _open(name, input, classes)
    purpose = PRESETS[name].purpose if name in PRESETS else ""
    if as_json:
        sites = [{"site": path, "options": site.domain.labels} for path, site in space.sites.items()]
        print_json(
            {
                "name": name,
                "purpose": purpose,
                "input": str(space.input),
                "size": space.size,
                "sites": sites,
                "tree": str(space),
            }
        )
        return
    typer.echo(f"{name}: {purpose}\n" if purpose else f"{name}\n")
    typer.echo(str(space))
    typer.echo()
    rows = [(path, ", ".join(map(str, site.domain.labels))) for path, site in space.sites.items()]
    print_table(("site", "options"), rows)
    typer.echo(f"\n{space.size:,} architectures, {len(space.sites)} choices")


@app.command()
def size(name: Name, input: Input = None, classes: Classes = 10, as_json: Json = False) -> None:
    """Print the exact number of architectures."""
    count = _open(name, input, classes).size
    if as_json:
        print_json({"name": name, "size": count})
    else:
        typer.echo(f"{count:,}")


def _open(name: str, text: str | None, classes: int) -> Space:
    """The space; one that a file holds for a certain input is taken as it is, unless another input is asked for."""
    from archfront.search.spaces import find_space, import_file
    from archfront.space.space import Space

    if text is None and name.endswith((".json", ".yaml", ".yml")):
        return Space.load(name)
    file, _, variable = name.rpartition(":")
    if text is None and file.endswith(".py"):
        found = getattr(import_file(Path(file)), variable, None)
        if isinstance(found, Space):
            return found
    return find_space(name, input_type(text or "3x32x32"), classes)

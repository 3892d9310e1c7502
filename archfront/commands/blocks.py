"""archfront blocks."""

from __future__ import annotations

import inspect
from typing import Annotated, Any

import typer

from .common import DefaultsToList, Json, print_json, print_table

app = typer.Typer(cls=DefaultsToList, help="The block library: list (the default) or show NAME.")


@app.command("list")
def list_blocks(
    kind: Annotated[str | None, typer.Option(help="Only one kind: gate, mixer, block, stem, ...")] = None,
    search: Annotated[str | None, typer.Option(help="Only where this stands in name, description or paper.")] = None,
    as_json: Json = False,
) -> None:
    """List blocks with kind and paper."""
    from archfront import catalogue

    entries = [catalogue.entry(cls) for cls in catalogue.blocks(kind, search)]
    if as_json:
        print_json(entries)
        return
    rows = [(e["name"], e["kind"], _origin(e["paper"]), e["key"], len(e["fields"])) for e in entries]
    print_table(("block", "kind", "paper", "key", "fields"), rows, right=("fields",))
    typer.echo(f"\n{len(entries)} blocks; archfront blocks show NAME says what one computes and what can be chosen.")


@app.command()
def show(name: Annotated[str, typer.Argument(metavar="NAME")], as_json: Json = False) -> None:
    """Show what a block computes, what can be chosen in it, its paper, and the reference architectures that use it."""
    from archfront import catalogue
    from archfront.space.spec import registry

    cls = registry.named(name)
    found = catalogue.entry(cls)
    if as_json:
        print_json({**found, "docstring": inspect.cleandoc(cls.__doc__ or "")})
        return
    typer.echo(f"{found['name']} ({found['kind']}){' · ' + found['key'] if found['key'] else ''}\n")
    typer.echo(inspect.cleandoc(cls.__doc__ or ""))
    typer.echo()
    rows = [(f["name"], f["type"], "(required)" if f["required"] else repr(f["default"])) for f in found["fields"]]
    print_table(("field", "type", "default"), rows)
    typer.echo(f"\nPaper: {cls.paper or 'none, a textbook operator'}")
    typer.echo(f"In reference architectures: {', '.join(found['references']) or 'none'}")


def _origin(paper: dict[str, Any] | None) -> str:
    if paper is None:
        return "–"
    authors = paper["authors"].split(",")
    return f"{authors[0]}{' et al.' if len(authors) > 1 else ''}, {paper['year']}, {paper['title']}"

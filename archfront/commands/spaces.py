"""archfront spaces."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .common import DefaultsToList, Json, Quiet, input_type, print_json, print_table

if TYPE_CHECKING:
    from archfront.space.architecture import Architecture
    from archfront.space.space import Space
    from archfront.space.spec import Spec
    from archfront.space.types import FeatureType

app = typer.Typer(cls=DefaultsToList, help="Search spaces: list (the default), show, size or reach NAME.")

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


@app.command()
def reach(
    name: Name,
    input: Input = None,
    classes: Classes = 10,
    budget: Annotated[str, typer.Option(help='Bounds on params and FLOPs to judge, such as "params<=1M".')] = "",
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Print the exact least and greatest cost in a space, and how much of it a budget leaves."""
    from archfront.console import make_reporter
    from archfront.hw_profiles.metrics import metric
    from archfront.search.budget import Budget, BudgetError
    from archfront.search.config import ConfigError
    from archfront.search.feasible import Region

    space = _open(name, input, classes)
    with make_reporter(quiet).track("Counting parts", 1) as advance:
        for done, part in enumerate(parts := list(space.parts())):
            _costs(part.spec, part.input)
            advance(done + 1, "", len(parts))

    def shown(of: str, value: float) -> str:
        return metric(of).format(value)

    try:
        bounds = Budget.parse(budget)
    except BudgetError as error:  # which would mean that nothing keeps it
        raise ConfigError(str(error)) from None
    unknown = [bound.metric for bound in bounds.bounds if bound.metric not in _counts(space.sample(0))]
    if unknown:
        raise ConfigError(
            f"budget: {', '.join(unknown)} cannot be counted, and this command measures nothing; bound params, flops, "
            "activations or memory here, and anything in archfront search"
        )
    region = Region(space, bounds, ("params", "macs"), _costs, {}, _counts, shown)
    found = region.reach()
    region.check()
    kept = sum(region.accepts(space.sample(seed, over="sites")) for seed in range(1000)) / 1000 if budget else 1.0
    if as_json:
        print_json({"name": name, "size": space.size, "reach": found, "share_within_budget": kept})
        return
    rows = [(metric(of).title, shown(of, low), shown(of, high), "exact") for of, (low, high) in found.items()]
    print_table(("metric", "least", "greatest", ""), rows, right=("least", "greatest"))
    typer.echo(f"\n{space.size:,} architectures")
    if budget:
        typer.echo(f"{region.budget}: {kept:.1%} of 1,000 random ones keep it; a search draws from these alone")


def _costs(spec: Spec, x: FeatureType) -> tuple[float, float]:
    from archfront.hw_profiles.cost import part_cost

    counted = part_cost(spec, x)
    return counted.params, counted.macs


def _counts(architecture: Architecture) -> dict[str, float]:
    from archfront.hw_profiles.cost import cost

    return {of: m.value for of, m in cost(architecture).measurements().items()}


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

"""The obvious slow way to list a space, sharing nothing with the graph: every combination, those that fail left out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from typing import Any

from archfront.space import ShapeError, Space
from archfront.space.architecture import Architecture
from archfront.space.domains import Domain, Repeat, Shared, Tied

Shares = dict[str, tuple[Any, ...]]


def architectures(space: Space) -> set[Architecture]:
    """Every architecture of a space."""
    found = set()
    for network, _ in fill(space.network, "", "", {}):
        try:
            found.add(Architecture(space.input, network))
        except ShapeError:
            continue
    return found


def fill(value: Any, path: str, star: str, made: Shares) -> Iterator[tuple[Any, Shares]]:
    """Every way to fill `value`; `made` holds shared and tied results by name, chosen once and copied afterwards."""
    if isinstance(value, Tied):
        yield from once(value.of, f"tied {value.name}", made)
    elif isinstance(value, Shared):
        yield from once(value.of, f"shared {star}", made)
    elif isinstance(value, Repeat):
        for count in value.times.options:
            yield from sequence([(value.template, f"{path}[{i}]", f"{path}[*]") for i in range(count)], made)
    elif isinstance(value, Domain):
        for option in value.options:
            yield from fill(option, path, star, made)
    elif isinstance(value, tuple):
        repeated = path.endswith("blocks")
        items = [(v, f"{path}[{i}]", f"{path}[*]" if repeated else f"{star}[{i}]") for i, v in enumerate(value)]
        yield from sequence(items, made)
    elif hasattr(value, "has_choices") and value.has_choices:
        names = [f.name for f in fields(value)]
        items = [(getattr(value, n), f"{path}.{n}", f"{star}.{n}") for n in names]
        for filled, now in sequence(items, made):
            yield type(value)(**dict(zip(names, filled, strict=True))), now
    else:
        yield value, made


def once(value: Any, name: str, made: Shares) -> Iterator[tuple[Any, Shares]]:
    if name in made:
        yield made[name][0], made
        return
    for filled, now in fill(value, name, name, made):
        yield filled, {**now, name: (filled,)}


def sequence(items: list[tuple[Any, str, str]], made: Shares) -> Iterator[tuple[tuple[Any, ...], Shares]]:
    if not items:
        yield (), made
        return
    (value, path, star), *rest = items
    for first, now in fill(value, path, star, made):
        for others, later in sequence(rest, now):
            yield (first, *others), later

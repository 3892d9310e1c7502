"""The block library as plain data: what exists, where it comes from, what can be chosen, who uses it."""

from __future__ import annotations

import inspect
import types
from collections.abc import Iterator
from dataclasses import MISSING, fields
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from archfront.hw_profiles.runtimes import spec_classes
from archfront.space.references import references
from archfront.space.serial import encode
from archfront.space.spec import KINDS, Paper, Spec, field_types, kind_named, registry
from archfront.space.spec import describe as describe_type


def blocks(kind: str | None = None, text: str | None = None) -> list[type[Spec]]:
    """The registered specs that a network is composed of, by kind and name.

    Args:
        kind: only those of this kind ("gate", "channel mixer", ...).
        text: only those in whose name, docstring or paper this occurs.
    """
    kinds = KINDS if kind is None else (kind_named(kind),)
    found = dict.fromkeys(cls for k in kinds for cls in registry.of_kind(k))
    return [cls for cls in found if text is None or text.lower() in _searched(cls)]


def _searched(cls: type[Spec]) -> str:
    return f"{cls.__name__} {cls.__doc__} {cls.paper} {cls.paper.key if cls.paper else ''}".lower()


def entry(cls: type[Spec]) -> dict[str, Any]:
    """Everything about one block as plain data."""
    return {
        "name": cls.__name__,
        "key": cls.paper.key if cls.paper else "",
        "kind": cls.kind,
        "summary": summary(cls),
        "paper": paper(cls.paper),
        "fields": list(choices(cls)),
        "references": [name for name, used in used_by_references().items() if cls in used],
    }


def summary(cls: type[Spec]) -> str:
    """The first paragraph of the docstring."""
    return inspect.cleandoc(cls.__doc__ or "").partition("\n\n")[0].replace("\n", " ")


def paper(of: Paper | None) -> dict[str, Any] | None:
    """A paper as plain data."""
    return None if of is None else {"title": of.title, "authors": of.authors, "year": of.year}


def choices(cls: type[Spec]) -> Iterator[dict[str, Any]]:
    """The fields of a block: type in words, options where they can be listed, default unless one must be given."""
    hints = field_types(cls)
    for field in fields(cls):
        hint = hints[field.name]
        required = field.default is MISSING
        yield {
            "name": field.name,
            "type": describe_type(hint),
            "options": options(hint),
            "required": required,
            "default": None if required else encode(field.default),
            "spelling": "" if required else spelled(field.default),
        }


def spelled(default: Any, most: int = 120) -> str:
    """A default as it is written in Python; one that is long by its beginning."""
    text = repr(default)
    return text if len(text) <= most else f"{text[:most]}..."


def options(hint: Any) -> list[Any] | None:
    """Every value that a field of this type takes, specs by their names; None where they cannot be listed."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return options(arguments[0])
    if origin is Literal:
        return list(arguments)
    if origin in (Union, types.UnionType):
        lists = [options(argument) for argument in arguments]
        return None if None in lists else [value for found in lists for value in found or ()]
    if hint is type(None):
        return [None]
    if hint is bool:
        return [False, True]
    if isinstance(hint, type) and issubclass(hint, Spec):
        return [cls.__name__ for cls in registry.of_kind(hint)]
    return None


@cache
def used_by_references() -> dict[str, set[type[Spec]]]:
    """The classes of all specs in every reference architecture."""
    return {name: spec_classes(found.network(found.classes)) for name, found in references.items()}

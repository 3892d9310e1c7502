"""Specs as text: a tree a person can read."""

from __future__ import annotations

from dataclasses import MISSING, fields
from typing import Any

from .domains import Domain, Repeat
from .spec import Spec
from .types import FeatureType


def tree(spec: Spec, x: FeatureType | None = None) -> str:
    """`spec` over several lines, one a nested spec, choices written as in Python; fields at their default are left out."""
    lines = [f"input: {x}"] if x is not None else []
    return "\n".join(lines + _lines("", spec))


def _lines(label: str, value: Any, indent: int = 0) -> list[str]:
    pad = "  " * indent
    start = f"{pad}{label}: " if label else pad
    if isinstance(value, Repeat):
        return _lines(f"{label} × {value.times!r}", value.template, indent)
    if isinstance(value, tuple) and any(_nested(item) for item in value):
        if len(set(map(repr, value))) == 1 and len(value) > 1:
            return _lines(f"{label} × {len(value)}", value[0], indent)
        return [line for i, item in enumerate(value) for line in _lines(f"{label}[{i}]", item, indent)]
    if isinstance(value, Domain) and any(_nested(option) for option in value.options):
        lines = [f"{start}one of"]
        for option in value.options:
            lines += _lines("-", option, indent + 1)
        return [line.replace("-: ", "- ", 1) if line.lstrip().startswith("-: ") else line for line in lines]
    if not isinstance(value, Spec):
        return [f"{start}{value!r}"]
    plain, nested = [], []
    for field in fields(value):
        item = getattr(value, field.name)
        if field.default is not MISSING and not isinstance(item, Domain) and item == field.default:
            continue
        if _nested(item):
            nested.append((field.name, item))
        else:
            plain.append(f"{field.name}={item!r}")
    lines = [start + type(value).__name__ + (f"({', '.join(plain)})" if plain else "")]
    for name, item in nested:
        lines += _lines(name, item, indent + 1)
    return lines


def _nested(value: Any) -> bool:
    if isinstance(value, Spec):
        return True
    if isinstance(value, Repeat):
        return True
    if isinstance(value, Domain):
        return any(_nested(option) for option in value.options)
    return isinstance(value, tuple) and any(_nested(item) for item in value)

"""Specs, spaces and architectures as plain data, JSON or YAML. Files only ever name registered specs."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import yaml

from .domains import Domain, IntRange, OneOf, Repeat, Shared, Tied, tied
from .errors import SpaceError, SpecError, nearest
from .spec import Spec, registry

SCHEMA = 1
"""Version of the layout of files; raised when old files would be read wrongly."""


def encode(value: Any) -> Any:
    """Plain data for a spec, a domain, or a value of a field."""
    if isinstance(value, OneOf):
        return {"one_of": [encode(v) for v in value.values]}
    if isinstance(value, IntRange):
        return {"int_range": [value.low, value.high, value.step]}
    if isinstance(value, Shared):
        return {"shared": encode(value.of)}
    if isinstance(value, Tied):
        return {"tied": value.name, "of": encode(value.of)}
    if isinstance(value, Repeat):
        return {"repeat": encode(value.template), "times": encode(value.times)}
    if isinstance(value, Spec):
        return {"type": type(value).__name__, **{f.name: encode(getattr(value, f.name)) for f in fields(value)}}
    if isinstance(value, tuple):
        return [encode(v) for v in value]
    return value


def decode(data: Any, path: str) -> Any:
    """What `encode` was given; lists become tuples.

    Raises:
        SpecError: an unknown spec, field or value, with its path.
    """
    if isinstance(data, list):
        return tuple(decode(item, f"{path}[{i}]") for i, item in enumerate(data))
    if not isinstance(data, dict):
        return data
    if "type" in data:
        return _decode_spec(data, path)
    if "one_of" in data:
        return OneOf(decode(_listed(data, "one_of", path), path))
    if "int_range" in data:
        return IntRange(*_listed(data, "int_range", path, (2, 3)))
    if "shared" in data:
        return Shared(decode(data["shared"], path))
    if "tied" in data:
        return tied(str(data["tied"]), decode(data.get("of"), path))
    if "repeat" in data:
        times = decode(data.get("times"), path)
        if not isinstance(times, Domain) or not all(type(count) is int for count in times.options):
            raise SpecError(f"{path}: 'repeat' needs 'times' with a domain of integers")
        return Repeat(decode(data["repeat"], path), times)
    raise SpecError(
        f"{path}: expected 'type' or a domain (one_of, int_range, shared, tied, repeat), got {sorted(data)}"
    )


def _listed(data: dict[str, Any], key: str, path: str, lengths: tuple[int, ...] = ()) -> list[Any]:
    values = data[key]
    if not isinstance(values, list) or (lengths and len(values) not in lengths):
        wanted = f"a list of {' or '.join(map(str, lengths))} values" if lengths else "a list of values"
        raise SpecError(f"{path}: {key!r} needs {wanted}, got {values!r}")
    return values


def _decode_spec(data: dict[str, Any], path: str) -> Spec:
    try:
        cls = registry.named(str(data["type"]))
    except SpecError as error:
        raise SpecError(f"{path}: {error}") from None
    known = {field.name for field in fields(cls)} | ({"depth", "block"} if cls.repeated else set())
    values = {}
    for name, item in data.items():
        if name == "type":
            continue
        if name not in known:
            raise SpecError(f"{path}: {cls.__name__} has no field {name!r}{nearest(name, known)}")
        values[name] = decode(item, f"{path}.{name}")
    try:
        return cls(**values)
    except SpecError as error:
        raise SpecError(f"{path}: {error}") from None
    except TypeError as error:
        raise SpecError(f"{path}: {cls.__name__}: {error}") from None


def check_schema(data: Any, what: str, *keys: str) -> None:
    """Refuse data that is no `what` of this version."""
    if not isinstance(data, dict):
        raise SpaceError(f"not an archfront {what}: expected an object with {', '.join(('schema', *keys))}")
    if data.get("schema") != SCHEMA:
        raise SpaceError(f"this {what} has schema {data.get('schema')!r}; this version of archfront reads {SCHEMA}")
    missing = [key for key in keys if key not in data]
    if missing:
        raise SpaceError(f"this {what} lacks {', '.join(map(repr, missing))}")


def read(path: str | Path) -> Any:
    """The data in a JSON (`.json`) or YAML (`.yaml`, `.yml`) file."""
    path = Path(path)
    try:
        text = path.read_text()
        return yaml.safe_load(text) if path.suffix in (".yaml", ".yml") else json.loads(text)
    except OSError as error:
        raise SpaceError(f"cannot read {path}: {error.strerror}") from None
    except (json.JSONDecodeError, yaml.YAMLError, UnicodeDecodeError) as error:
        form = "YAML" if path.suffix in (".yaml", ".yml") else "JSON"
        raise SpaceError(f"{path} is not readable as {form}: {error}") from None

"""Write the pages that follow from the code, blocks.md, library.md and configuration.md: python docs/generate.py"""

from __future__ import annotations

import inspect
import re
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from library_page import Counted, count_references, escaped, library_page
from pydantic import BaseModel

from archfront import catalogue
from archfront.search.config import StudyConfig
from archfront.space import Spec, Stem
from archfront.space.spec import KINDS

GENERATED = "<!-- Written by docs/generate.py; change the docstrings or the configuration, then run make docs. -->"


def pages(counted: Mapping[str, Counted]) -> dict[str, str]:
    """The text of every generated page by its file name; `counted` are the figures of the reference architectures."""
    return {
        "blocks.md": blocks_page(),
        "configuration.md": configuration_page(),
        "library.md": library_page(GENERATED, counted),
    }


# --------------------------------------------------------------------------- blocks


def blocks_page() -> str:
    """The block library by kind."""
    parts = [
        "# Block library",
        GENERATED,
        "Every block that ships, by kind. `archfront blocks` lists the same at the command line, with `--json` for "
        "programs. Blocks are imported from the modules named here; in files they go by their names. [Library by "
        "paper](library.md) has the papers that they are from and the published networks that are made of them.",
    ]
    for kind in KINDS:
        found = [spec for spec in catalogue.blocks(kind.kind) if spec.__module__.startswith("archfront.space.library.")]
        if found:
            parts += [f"## {kind.kind.capitalize()}", sentence(kind), *(block_entry(spec) for spec in found)]
    return "\n\n".join(parts) + "\n"


def block_entry(spec: type[Spec]) -> str:
    """One block: what it computes, its fields, the reference architectures that it is in."""
    text, meanings = split_docstring(spec)
    rows = []
    for field in catalogue.choices(spec):
        name, default = field["name"], "required" if field["required"] else f"`{field['spelling']}`"
        rows.append(
            f"| `{name}` | {escaped(field['type'])} | {default} | {meanings.get(name) or host_sets(spec, name)} |"
        )
    table = ["\n".join(["| field | takes | default | |", "| --- | --- | --- | --- |", *rows])] if rows else []
    code = f"`from {spec.__module__} import {spec.__name__}`"
    used = [name for name, specs in sorted(catalogue.used_by_references().items()) if spec in specs]
    users = [f"In {', '.join(used)}."] if used else []
    return "\n\n".join([f"### {spec.__name__}", code, text, *table, *users])


def split_docstring(spec: type[Spec]) -> tuple[str, dict[str, str]]:
    """The docstring without its `Args:`, and what these say of each field."""
    before, _, rest = (inspect.getdoc(spec) or "").partition("\nArgs:\n")
    arguments, _, after = rest.partition("\n\n")
    entries = re.findall(r"^    (\w+): (.*(?:\n     .*)*)", arguments, re.MULTILINE)
    meanings = {name: escaped(" ".join(text.split())) for name, text in entries}
    return escaped("\n\n".join(filter(None, (before.strip(), after.strip())))), meanings


def host_sets(spec: type[Spec], name: str) -> str:
    """What the fields are for that come with the kind."""
    if name not in ("width", "stride"):
        return ""
    return "channels that it yields" if issubclass(spec, Stem) else "set by the stage or block that it stands in"


# --------------------------------------------------------------------------- configuration


def configuration_page() -> str:
    """Every key of study.toml by section."""
    parts = [
        "# study.toml",
        GENERATED,
        "`archfront init` writes this file with every key and its default; `archfront search --config study.toml` "
        "reads it. Unknown and ill-typed keys are refused with their line and the nearest key that exists. A study "
        "keeps the file that it was started with.",
        section_table(StudyConfig),
    ]
    for name, field in StudyConfig.model_fields.items():
        if isinstance(field.default, BaseModel):
            model = type(field.default)
            parts += [f"## [{name}]", sentence(model), section_table(model)]
    return "\n\n".join(parts) + "\n"


def section_table(model: type[BaseModel]) -> str:
    """The keys of one section that are no sections themselves."""
    rows = []
    for name, field in model.model_fields.items():
        if isinstance(field.default, BaseModel):
            continue
        default = "" if field.default is None else f"`{toml(field.default)}`"
        limits = [f"{sign} {limit:g}" for sign, limit in bounds(field.metadata)]
        takes = ", ".join([described(field.annotation), *limits])
        rows.append(f"| `{name}` | {takes} | {default} | {escaped(field.description or '')} |")
    return "\n".join(["| key | takes | default | |", "| --- | --- | --- | --- |", *rows])


def bounds(metadata: list[Any]) -> Iterator[tuple[str, float]]:
    """The limits of a number, as signs and values."""
    for rule in metadata:
        for attribute, sign in (("gt", ">"), ("ge", "≥"), ("lt", "<"), ("le", "≤")):
            if getattr(rule, attribute, None) is not None:
                yield sign, getattr(rule, attribute)


def toml(value: Any) -> str:
    """A default as TOML spells it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, tuple):
        return f"[{', '.join(map(toml, value))}]"
    return repr(value)


# --------------------------------------------------------------------------- words


def described(hint: Any) -> str:
    """What a key of this type takes, in words."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return " or ".join("none" if argument is type(None) else described(argument) for argument in arguments)
    if origin is Literal:
        return ", ".join(f"`{toml(argument)}`" for argument in arguments)
    if origin is tuple:
        return f"a list, each {described(arguments[0])}"
    return {int: "an integer", float: "a number", str: "a text", bool: "`true` or `false`"}[hint]


def sentence(of: type) -> str:
    """The first line of a docstring."""
    return escaped((inspect.getdoc(of) or "").partition("\n")[0])


if __name__ == "__main__":
    for file, text in pages(count_references()).items():
        Path(__file__).with_name(file).write_text(text)

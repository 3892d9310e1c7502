"""The Python file of an architecture: the code of its modules and of their assembly, needing nothing but torch."""

from __future__ import annotations

import builtins
import keyword
import re
import sys
import textwrap
from collections.abc import Iterable

from archfront.space.architecture import Architecture
from archfront.space.types import FeatureType

from .construction import Construction, Printer
from .definitions import Definition, Definitions, ExportError, Import
from .weights import load_weights

__all__ = ["ExportError", "check_name", "source"]


def source(architecture: Architecture, *, name: str, header: str = "") -> str:
    """One readable file that builds the architecture where only torch is installed.

    It holds the classes used and what they refer to, copied from where they are defined, a function `name()` that
    assembles the network, and `load_weights(network, path)`. Run as a program, it loads the .safetensors file of its
    own name if that stands beside it, and prints the number of parameters and the output's shape.

    Args:
        architecture: what to write.
        name: of the function that builds the network; a Python identifier.
        header: paragraphs for the file's docstring, such as the classes and the metrics.

    Raises:
        ExportError: a module refers to something that cannot stand in such a file; says what, and what would work.
    """
    check_name(name)
    construction, definitions = Construction(architecture.build), Definitions()
    expression = Printer(construction, definitions).network().layout(indent=4, before=len("return "))
    for item in (Import("torch", "", "torch"), Import("torch", "nn", "nn"), Import("pathlib", "Path", "Path")):
        definitions.require(item)
    definitions.add(load_weights)
    if name in definitions.names:
        raise ExportError(f"name {name!r} is taken by a part of the network; choose another, such as '{name}_net'")
    params = sum(p.numel() for p in construction.network.parameters())
    docstring = _docstring(architecture, name, params, header)
    assembly = f'def {name}() -> nn.Module:\n    """{_signature(architecture)}"""\n    return {expression}'
    head = f"{docstring}\n\nfrom __future__ import annotations\n\n{_imports(definitions.imports)}"
    return f"{head}{_body(definitions.ordered)}\n\n\n{assembly}\n\n\n{_program(architecture, name)}"


def check_name(name: str) -> None:
    """Refuse names that cannot be those of a Python function and of a module beside others."""
    if not name.isidentifier() or keyword.iskeyword(name) or keyword.issoftkeyword(name):
        raise ExportError(f"name {name!r}: expected a Python identifier such as {_identifier(name)!r}")
    if hasattr(builtins, name) or name in sys.stdlib_module_names or name in ("torch", "numpy"):
        raise ExportError(f"name {name!r} would hide another module or builtin; choose one such as '{name}_net'")


def _identifier(name: str) -> str:
    words = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_")
    taken = keyword.iskeyword(words) or keyword.issoftkeyword(words)
    return words if words.isidentifier() and not taken else f"net_{words}".rstrip("_")


def _shape(kind: FeatureType) -> str:
    return ", ".join(f"({', '.join(('N', *map(str, shape)))})" for shape in kind.shapes)


def _signature(architecture: Architecture) -> str:
    return f"The network, freshly initialised: {_shape(architecture.input)} to {_shape(architecture.output)}."


def _docstring(architecture: Architecture, name: str, params: int, header: str) -> str:
    paragraphs = (
        f"{name}: a network of {params:,} parameters from {architecture.input} to {architecture.output}.",
        f"Input: float32, {_shape(architecture.input)}. Output: {_shape(architecture.output)}. N is the batch size.",
        header.strip(),
        f"Written by archfront (architecture {architecture.digest}); needs nothing but torch.",
    )
    text = "\n\n".join(_wrapped(paragraph) for paragraph in paragraphs if paragraph)
    safe = text.replace("\\", "\\\\").replace('"""', r"\"\"\"")
    return f'"""{safe}\n"""'


def _wrapped(paragraph: str) -> str:
    """Lines of at most 100 columns; their own indentation is kept."""
    printable = ("".join(c if c.isprintable() else " " for c in line).rstrip() for line in paragraph.split("\n"))
    return "\n".join(_hang(line) for line in printable)


def _hang(line: str) -> str:
    indent = " " * (len(line) - len(line.lstrip()))
    return "\n".join(textwrap.wrap(line, 100, subsequent_indent=indent + "  ")) if len(line) > 100 else line


def _imports(imports: dict[str, list[Import]]) -> str:
    """Import statements, standard library first, sorted as formatters do."""
    items = [item for group in imports.values() for item in group]
    ours = [item for item in items if item.module.partition(".")[0] == "torch"]
    sections = ([item for item in items if item not in ours], ours)
    return "\n".join("\n".join(_section(section)) + "\n" for section in sections if section)


def _section(items: list[Import]) -> Iterable[str]:
    for item in sorted((item for item in items if not item.name), key=lambda item: item.module):
        plain = item.bound == item.module.partition(".")[0]
        yield f"import {item.module}" if plain else f"import {item.module} as {item.bound}"
    members: dict[str, list[Import]] = {}
    for item in items:
        if item.name:
            members.setdefault(item.module, []).append(item)
    for module in sorted(members):
        names = sorted(members[module], key=_order)
        yield f"from {module} import {', '.join(_member(item) for item in names)}"


def _member(item: Import) -> str:
    return item.name if item.name == item.bound else f"{item.name} as {item.bound}"


def _order(item: Import) -> tuple[int, str]:
    """Constants, then classes, then the rest."""
    constant = item.name.isupper() and len(item.name) > 1
    return (0 if constant else 1 if item.name[0].isupper() else 2), item.name


def _body(definitions: list[Definition]) -> str:
    """The definitions with one blank line around constants and two around classes and functions."""
    text = ""
    previous_is_constant = True
    for definition in definitions:
        text += ("\n" if definition.constant and previous_is_constant else "\n\n") + definition.text + "\n"
        previous_is_constant = definition.constant
    return text.rstrip("\n")


def _program(architecture: Architecture, name: str) -> str:
    shapes = ", ".join(f"torch.zeros({', '.join(map(str, (1, *shape)))})" for shape in architecture.input.shapes)
    single = len(architecture.output.shapes) == 1
    return f"""if __name__ == "__main__":
    network = {name}().eval()
    weights = Path(__file__).with_suffix(".safetensors")
    if weights.exists():
        load_weights(network, weights)
    with torch.inference_mode():
        output = network({shapes})
    shape = {"tuple(output.shape)" if single else "[tuple(level.shape) for level in output]"}
    print(f"{{sum(p.numel() for p in network.parameters()):,}} parameters, output {{shape}}")
"""

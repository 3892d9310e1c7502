"""The source of classes and functions, with exactly the imports, constants, helpers and base classes that they use."""

from __future__ import annotations

import ast
import builtins
import importlib.util
import inspect
import symtable
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from archfront.space.errors import ArchfrontError


class ExportError(ArchfrontError):
    """An architecture cannot be exported, or what was exported does not compute the same."""


@dataclass(frozen=True)
class Import:
    """One imported name: `import module [as bound]`, or `from module import name [as bound]`."""

    module: str
    name: str
    bound: str

    @property
    def portable(self) -> bool:
        """Whether it is there wherever torch is."""
        top = self.module.partition(".")[0]
        return top == "torch" or top in sys.stdlib_module_names

    @property
    def _whole(self) -> bool:
        """Whether this is `import a.b`, which binds `a`."""
        return not self.name and self.bound == self.module.partition(".")[0]

    @property
    def submodule(self) -> bool:
        """Whether it adds a submodule to a name that may be imported already."""
        return self._whole and self.bound != self.module

    def same_as(self, other: Import) -> bool:
        """Whether both bind their name to one object."""
        return self._object() is other._object()

    def _object(self) -> Any:
        module = sys.modules.get(self.bound if self._whole else self.module)
        return getattr(module, self.name, None) if self.name else module


Statement = ast.ClassDef | ast.FunctionDef | ast.Assign | ast.AnnAssign


@dataclass(frozen=True)
class Definition:
    """One top-level statement: the names it binds and its text."""

    module: str
    names: tuple[str, ...]
    text: str
    constant: bool


class ModuleIndex:
    """What each top-level name of a module is: the statement that defines it, or the imports that bring it."""

    def __init__(self, module: ModuleType) -> None:
        self.module = module
        try:
            source = inspect.getsource(module)
        except (OSError, TypeError):
            raise ExportError(f"the source of module {module.__name__!r} cannot be read; define it in a file") from None
        self._lines = source.split("\n")  # as ast counts them
        self.definitions: dict[str, Definition] = {}
        self.imports: dict[str, list[Import]] = {}
        self.repeated: set[str] = set()
        body = ast.parse(source).body
        for node, following in zip(body, [*body[1:], None], strict=True):
            if isinstance(node, Statement):
                self._define(node, following)
        for statement in _import_statements(body):
            for item in self._imported(statement):
                self.imports.setdefault(item.bound, []).append(item)

    def _define(self, node: Statement, following: ast.stmt | None) -> None:
        constant = isinstance(node, (ast.Assign, ast.AnnAssign))
        names = tuple(_bound_names(node))
        definition = Definition(
            self.module.__name__, names, self._text(node, following if constant else None), constant
        )
        self.repeated.update(name for name in names if name in self.definitions)
        self.definitions.update(dict.fromkeys(names, definition))

    def _text(self, node: Statement, following: ast.stmt | None) -> str:
        """The lines of `node`, with the comment right above it and, for a constant, the docstring right below it."""
        first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))]) - 1
        while first > 0 and self._lines[first - 1].startswith("#"):
            first -= 1
        last = node.end_lineno
        if (
            isinstance(following, ast.Expr)
            and isinstance(following.value, ast.Constant)
            and following.lineno - 1 == last
        ):
            last = following.end_lineno
        return "\n".join(self._lines[first:last])

    def _imported(self, node: ast.Import | ast.ImportFrom) -> Iterator[Import]:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, "", alias.asname or alias.name.partition(".")[0])
            return
        module = "." * node.level + (node.module or "")
        if node.level:
            module = importlib.util.resolve_name(module, self.module.__package__ or "")
        for alias in node.names:
            yield Import(module, alias.name, alias.asname or alias.name)


def _import_statements(body: list[ast.stmt]) -> Iterator[ast.Import | ast.ImportFrom]:
    for node in body:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            yield node
        elif isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            yield from _import_statements(node.body)


def _bound_names(node: Statement) -> Iterator[str]:
    if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
        yield node.name
        return
    for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
        yield from (item.id for item in ast.walk(target) if isinstance(item, ast.Name))


def global_names(source: str) -> list[str]:
    """The global names that a piece of source refers to, builtins included, in alphabetic order."""

    def walk(table: symtable.SymbolTable) -> Iterator[str]:
        yield from (s.get_name() for s in table.get_symbols() if s.is_referenced() and s.is_global())
        for inner in table.get_children():
            yield from walk(inner)

    return sorted(set(walk(symtable.symtable(source, "<definition>", "exec"))))


class Definitions:
    """Collects definitions in an order in which they can run.

    A definition may refer to torch, to the standard library, and to other top-level definitions, its own file's or
    imported ones, which are then collected too.
    """

    def __init__(self) -> None:
        self.imports: dict[str, list[Import]] = {}
        self.ordered: list[Definition] = []
        self._defined: dict[str, Definition] = {}
        self._seen: set[Definition] = set()
        self._indices: dict[str, ModuleIndex] = {}

    @property
    def names(self) -> set[str]:
        """Every name that is taken."""
        return {*self.imports, *self._defined}

    def add(self, item: type | Callable[..., Any]) -> str:
        """Collect a class or function with all that it refers to; the name by which source can call it.

        Raises:
            ExportError: it, or something that it refers to, cannot stand in a file of its own that needs only torch.
        """
        name, module = item.__qualname__, item.__module__
        if not name.isidentifier():
            raise ExportError(f"{module}.{name} cannot be exported: define it by name at the top level of its file")
        if module not in sys.modules:
            raise ExportError(f"{name} cannot be exported: its module {module!r} was not imported as usual")
        self._collect(module, name, (name,))
        return name

    def require(self, item: Import) -> str:
        """Collect an import of torch or of the standard library; the name it binds."""
        if item.bound in self._defined:
            raise _clash(item.bound, self._defined[item.bound].module, item.module)
        known = self.imports.setdefault(item.bound, [])
        if known and not item.same_as(known[0]):
            raise _clash(item.bound, known[0].module, item.module)
        if not known or (item.submodule and item not in known):
            known.append(item)
        return item.bound

    def _collect(self, module: str, name: str, trail: tuple[str, ...]) -> None:
        index = self._index(module)
        if name in index.definitions:
            self._define(index, index.definitions[name], trail)
        elif name in index.imports:
            for item in index.imports[name]:
                self._import(index, item, trail)
        else:
            raise _refusal(
                trail,
                f"{module} has no plain top-level definition or import of {name!r}; give it one: "
                "a class, def, assignment or `from x import name` outside any if, try or function",
            )

    def _index(self, module: str) -> ModuleIndex:
        if module not in self._indices:
            self._indices[module] = ModuleIndex(sys.modules[module])
        return self._indices[module]

    def _define(self, index: ModuleIndex, definition: Definition, trail: tuple[str, ...]) -> None:
        if definition in self._seen:
            return
        self._seen.add(definition)
        _check_exportable(index, trail)
        for name in definition.names:
            known = self._defined.setdefault(name, definition)
            if name in self.imports or known.text != definition.text:
                other = self.imports[name][0].module if name in self.imports else known.module
                raise _clash(name, other, definition.module)
        for name in global_names(definition.text):
            builtin = hasattr(builtins, name) and name not in index.definitions and name not in index.imports
            if name not in definition.names and not builtin:
                self._collect(definition.module, name, (*trail, name))
        if self._defined[definition.names[0]] is definition:  # and not its equal in another file
            self.ordered.append(definition)

    def _import(self, index: ModuleIndex, item: Import, trail: tuple[str, ...]) -> None:
        if item.portable:
            self.require(item)
            return
        target = sys.modules.get(item.module)
        if not item.name or target is None or isinstance(getattr(target, item.name, None), ModuleType):
            raise _refusal(trail, f"{item.bound!r} is module {_module_name(item)!r}; exported code needs only torch")
        if _installed(target) and _top(item.module) not in ("archfront", _top(index.module.__name__)):
            raise _refusal(trail, f"it comes from package {_top(item.module)!r}; exported code needs only torch")
        if item.bound != item.name:
            raise _refusal(trail, f"import {item.name!r} from {item.module} under its own name, not as {item.bound!r}")
        self._collect(item.module, item.name, trail)


def _check_exportable(index: ModuleIndex, trail: tuple[str, ...]) -> None:
    name = trail[-1]
    if name in index.repeated:
        raise _refusal(trail, f"{index.module.__name__} defines {name!r} more than once; keep one definition")
    value = getattr(index.module, name, None)
    allowed = (nn.Module, torch.autograd.Function)
    if _top(index.module.__name__) == "archfront" and isinstance(value, type) and not issubclass(value, allowed):
        raise _refusal(trail, f"{name!r} belongs to archfront, which exported code does without; use plain values")


def _clash(name: str, one: str, other: str) -> ExportError:
    return ExportError(f"{name!r} means one thing in {one} and another in {other}; use one name for one thing")


def _refusal(trail: tuple[str, ...], reason: str) -> ExportError:
    use = f" (it uses {' -> '.join(trail[1:])})" if len(trail) > 1 else ""
    return ExportError(f"{trail[0]} cannot be exported{use}: {reason}")


def _top(module: str) -> str:
    return module.partition(".")[0]


def _module_name(item: Import) -> str:
    return f"{item.module}.{item.name}" if item.name else item.module


def _installed(module: ModuleType) -> bool:
    return bool({"site-packages", "dist-packages"} & set(Path(module.__file__ or "").parts))

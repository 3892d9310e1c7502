"""From a built network back to the constructor calls that build it, written as a person would write them."""

from __future__ import annotations

import functools
import inspect
import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from .definitions import Definitions, ExportError, Import

WIDTH = 120
"""Columns after which a call is broken over lines."""

LEVELS = 2
"""Calls inside calls that are read at a glance: a block and its parts stand on one line, a stage does not."""

_wrapping = threading.Lock()


@dataclass(frozen=True)
class Call:
    """The arguments with which a module was made. Holds the module, so that no other one can get its id."""

    module: nn.Module
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


class Construction:
    """One network and the calls that made its modules.

    Args:
        build: makes the network; called twice, and must make the same one each time. The random state is left alone.
    """

    def __init__(self, build: Callable[[], nn.Module]) -> None:
        self._calls: dict[int, Call] = {}
        with torch.random.fork_rng(devices=[]):
            classes = {type(module) for module in build().modules()}
            with _wrapping, self._recording(classes):
                self.network = build()
            rebuilt = self._rebuild(self.network, {})
        self._check(rebuilt)

    @contextmanager
    def _recording(self, classes: set[type[nn.Module]]) -> Iterator[None]:
        """Note the arguments of every module of these classes that is made meanwhile."""
        originals = {cls: cls.__dict__.get("__init__") for cls in classes}
        try:
            for cls in classes:
                cls.__init__ = self._noting(cls, cls.__init__)  # type: ignore[method-assign]
            yield
        finally:
            for cls, original in originals.items():
                if original is None:
                    del cls.__init__
                else:
                    cls.__init__ = original  # type: ignore[method-assign]

    def _noting(self, cls: type[nn.Module], init: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(init)
        def noting(module: nn.Module, *args: Any, **kwargs: Any) -> None:
            if type(module) is cls:  # not for `super().__init__()` of a subclass
                self._calls.setdefault(id(module), _tidy(Call(module, args, kwargs), init))
            init(module, *args, **kwargs)

        return noting

    def call(self, module: nn.Module) -> Call:
        """How `module` was made."""
        if id(module) not in self._calls:
            raise ExportError(
                f"how {type(module).__name__} was made is not known: build() must make it, and its class must "
                "stand at the top level of its file"
            )
        return self._calls[id(module)]

    def _rebuild(self, value: Any, known: dict[int, nn.Module]) -> Any:
        """A value like `value` with every module in it made anew by its call; `known` holds those made before."""
        if isinstance(value, nn.Module):
            if id(value) not in known:
                call = self.call(value)
                known[id(value)] = type(value)(*self._rebuild(call.args, known), **self._rebuild(call.kwargs, known))
            return known[id(value)]
        if isinstance(value, dict):
            return type(value)((key, self._rebuild(item, known)) for key, item in value.items())
        if type(value) in (tuple, list):
            return type(value)(self._rebuild(item, known) for item in value)
        return value

    def _check(self, rebuilt: nn.Module) -> None:
        """Calls tell everything only if nothing was added, removed or replaced after a module was made."""
        expected, got = _anatomy(self.network), _anatomy(rebuilt)
        for path in sorted(expected.keys() | got.keys()):
            made, remade = expected.get(path, "nothing"), got.get(path, "nothing")
            if made != remade:
                raise ExportError(
                    f"{path or 'the network'} is {made}, but {remade} when made again from its constructor's "
                    "arguments: it was changed after it was made. Let the constructor do that"
                )


def _anatomy(network: nn.Module) -> dict[str, str]:
    """What stands at every path of a network: modules, and the shapes of parameters and buffers."""
    modules = network.named_modules(remove_duplicate=False)
    anatomy = {path: f"{type(module).__name__}({module.extra_repr()})" for path, module in modules}
    return anatomy | {path: f"a tensor of shape {tuple(value.shape)}" for path, value in network.state_dict().items()}


def _tidy(call: Call, init: Callable[..., None]) -> Call:
    """The same call as people write it: defaults left out, and for other modules than torch's own a number or two in
    front, the rest by name.

    Calls of constructors with `*args` and calls with a single argument are left as they are.
    """
    parameters = list(inspect.signature(init).parameters.values())[1:]
    variadic = any(p.kind in (p.VAR_POSITIONAL, p.POSITIONAL_ONLY) for p in parameters)
    if variadic or len(call.args) + len(call.kwargs) < 2:
        return call
    args, kwargs = list(call.args), call.kwargs
    if type(call.module).__module__.startswith("torch."):
        while args and _same(args[-1], parameters[len(args) - 1].default):
            args.pop()
    else:
        leading = _leading(parameters, args)
        kwargs = dict(zip((p.name for p in parameters[leading:]), args[leading:], strict=False)) | kwargs
        args = args[:leading]
    defaults = {p.name: p.default for p in parameters}
    given = {name: value for name, value in kwargs.items() if name not in defaults or not _same(value, defaults[name])}
    return Call(call.module, tuple(args), given)


def _leading(parameters: list[inspect.Parameter], args: list[Any]) -> int:
    """How many arguments need no name: at most the first two, before any module or anything that has a default."""
    named = (
        p.default is not p.empty or isinstance(arg, nn.Module) for p, arg in zip(parameters, args[:2], strict=False)
    )
    return next((i for i, must in enumerate(named) if must), min(2, len(args)))


def _same(value: Any, default: Any) -> bool:
    """Whether an argument is plain data and its default, to the last digit and type (1 is neither 1.0 nor True)."""
    return isinstance(value, (int, float, str, tuple, type(None))) and repr(value) == repr(default)


# --------------------------------------------------------------------------- printing


@dataclass(frozen=True)
class Group:
    """`opening item, item closing`: on one line where that is easy to read, otherwise its items on their own."""

    opening: str
    items: tuple[Node, ...]
    closing: str
    call: bool = False

    @property
    def inside(self) -> str:
        """The items on one line."""
        inside = ", ".join(item if isinstance(item, str) else item.flat for item in self.items)
        lone = len(self.items) == 1 and self.closing == ")" and not self.call  # the comma makes it a tuple
        return f"{inside}," if lone else inside

    @property
    def flat(self) -> str:
        """All on one line."""
        return f"{self.opening}{self.inside}{self.closing}"

    @property
    def levels(self) -> int:
        """How deep calls stand inside each other."""
        return self.call + max((item.levels for item in self.items if isinstance(item, Group)), default=0)

    def layout(self, indent: int, before: int = 0) -> str:
        """The group for a line at `indent`, with `before` more columns taken in front of it and a comma behind it."""
        short = self.levels <= LEVELS
        inner, outer = " " * (indent + 4), " " * indent
        if not self.items or (short and indent + before + len(self.flat) + 1 <= WIDTH):
            return self.flat
        if short and len(inner) + len(self.inside) <= WIDTH:
            return f"{self.opening}\n{inner}{self.inside}\n{outer}{self.closing}"
        items = (item if isinstance(item, str) else item.layout(indent + 4) for item in self.items)
        lines = "".join(f"{inner}{item},\n" for item in items)
        return f"{self.opening}\n{lines}{outer}{self.closing}"


Node = str | Group


class Printer:
    """Writes constructor calls; the classes and functions that they name are added to `definitions`."""

    def __init__(self, construction: Construction, definitions: Definitions) -> None:
        self._construction = construction
        self._definitions = definitions
        self._printed: set[int] = set()

    def network(self) -> Group:
        """The expression that makes the network."""
        return self._module(self._construction.network)

    def _module(self, module: nn.Module) -> Group:
        owner = type(module).__name__
        if id(module) in self._printed and module.state_dict():
            raise ExportError(f"one {owner} with weights stands at two places of the network; make one for each")
        self._printed.add(id(module))
        call = self._construction.call(module)
        positional = self._items(call.args, owner)
        named = tuple(_prefixed(f"{key}=", self._value(value, owner)) for key, value in call.kwargs.items())
        return Group(f"{self._name(type(module), owner)}(", positional + named, ")", call=True)

    def _value(self, value: Any, owner: str) -> Node:
        if isinstance(value, nn.Module):
            return self._module(value)
        if type(value) is list:
            return Group("[", self._items(value, owner), "]")
        if type(value) is tuple:
            return Group("(", self._items(value, owner), ")")
        if type(value) in (dict, OrderedDict):
            return self._mapping(value, owner)
        return self._name(value, owner) if callable(value) else _literal(value, owner)

    def _items(self, values: Iterable[Any], owner: str) -> tuple[Node, ...]:
        return tuple(self._value(value, owner) for value in values)

    def _mapping(self, value: dict[Any, Any], owner: str) -> Group:
        pairs = (_prefixed(f"{_literal(key, owner)}: ", self._value(item, owner)) for key, item in value.items())
        group = Group("{", tuple(pairs), "}")
        if type(value) is dict:
            return group
        return Group(
            f"{self._definitions.require(Import('collections', 'OrderedDict', 'OrderedDict'))}(", (group,), ")"
        )

    def _name(self, item: Any, owner: str) -> str:
        name = getattr(item, "__qualname__", None)
        if name is None:
            raise _unprintable(item, owner)
        for namespace, imported in _NAMESPACES:
            if getattr(namespace, name, None) is item:
                return f"{self._definitions.require(imported)}.{name}"
        return self._definitions.add(item)


_NAMESPACES = (
    (nn, Import("torch", "nn", "nn")),
    (functional, Import("torch.nn.functional", "", "F")),
    (torch, Import("torch", "", "torch")),
)


def _prefixed(prefix: str, node: Node) -> Node:
    return prefix + node if isinstance(node, str) else replace(node, opening=prefix + node.opening)


def _literal(value: Any, owner: str) -> str:
    if value is None or type(value) in (bool, int):
        return repr(value)
    if type(value) is float:
        return repr(value) if math.isfinite(value) else f'float("{value}")'
    if type(value) is str:
        text = repr(value)
        return text if '"' in text else f'"{text[1:-1]}"'
    raise _unprintable(value, owner)


def _unprintable(value: Any, owner: str) -> ExportError:
    return ExportError(
        f"{owner} was given {str(value)[:80]!r} (a {type(value).__name__}), which cannot be written as code: "
        "modules take numbers, strings, None, modules, named functions, classes, and tuples, lists or dicts of these"
    )

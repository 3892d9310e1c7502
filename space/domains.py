"""Domains: sets of values that stand where a spec would hold one value.

`one_of(3, 5, 7)` is an `int` to a type checker and a `OneOf` at run time, so one definition of a spec serves
architectures and spaces.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar, cast

from .errors import SpaceError

T = TypeVar("T")


class Domain:
    """The values allowed at one site, in order."""

    @property
    def options(self) -> tuple[Any, ...]:
        """Every value; a value may be a spec that holds further domains."""
        raise NotImplementedError

    @property
    def ordered(self) -> bool:
        """Whether the options are numbers in increasing order, so that neighbours are close in effect."""
        return False

    @cached_property
    def labels(self) -> tuple[Any, ...]:
        """A distinct plain name for every option: the value itself, or for a spec its class (`MBConv`, `MBConv#2`)."""
        seen: dict[str, int] = {}
        labels: list[Any] = []
        for option in self.options:
            if option is None or isinstance(option, (bool, int, float, str)):
                labels.append(option)
                continue
            name = repr(option) if isinstance(option, tuple) else type(option).__name__
            seen[name] = seen.get(name, 0) + 1
            labels.append(name if seen[name] == 1 else f"{name}#{seen[name]}")
        return tuple(labels)


def _key(value: object) -> tuple[type, object]:
    return type(value), value


@dataclass(frozen=True, repr=False)
class OneOf(Domain):
    """A choice among listed values."""

    values: tuple[Any, ...]

    def __post_init__(self) -> None:
        if not self.values:
            raise SpaceError("one_of() needs at least one value")
        if any(isinstance(value, Domain) for value in self.values):
            raise SpaceError("one_of(...) takes values or specs, not domains: list the values of both in one one_of")
        for value in self.values:
            if isinstance(value, (list, set)):
                listed = ", ".join(map(repr, value))
                raise SpaceError(f"one_of: a {type(value).__name__} is no value: write one_of({listed})")
        if len({_key(value) for value in self.values}) < len(self.values):
            raise SpaceError(f"one_of{self.values!r} lists a value twice")

    @property
    def options(self) -> tuple[Any, ...]:
        return self.values

    @property
    def ordered(self) -> bool:
        numbers = all(type(value) in (int, float) for value in self.values)
        return numbers and list(self.values) == sorted(self.values)

    def __repr__(self) -> str:
        return f"one_of({', '.join(map(repr, self.values))})"


@dataclass(frozen=True, repr=False)
class IntRange(Domain):
    """The integers low, low + step, ... up to and including high."""

    low: int
    high: int
    step: int = 1

    def __post_init__(self) -> None:
        for name in ("low", "high", "step"):
            if type(getattr(self, name)) is not int:
                raise SpaceError(f"int_range: {name} must be an integer, got {getattr(self, name)!r}")
        if self.step < 1 or self.high < self.low:
            raise SpaceError(
                f"int_range({self.low}, {self.high}, {self.step}) is empty: it needs low <= high, step >= 1"
            )

    @cached_property
    def options(self) -> tuple[Any, ...]:
        return tuple(range(self.low, self.high + 1, self.step))

    @property
    def ordered(self) -> bool:
        return True

    def __repr__(self) -> str:
        return f"int_range({self.low}, {self.high}{'' if self.step == 1 else f', {self.step}'})"


@dataclass(frozen=True, repr=False)
class Shared(Domain):
    """Choices made once for all positions of a repeated stage. `of` is a domain or a spec that holds domains."""

    of: Any

    @property
    def options(self) -> tuple[Any, ...]:
        return self.of.options if isinstance(self.of, Domain) else (self.of,)

    @property
    def ordered(self) -> bool:
        return isinstance(self.of, Domain) and self.of.ordered

    def __repr__(self) -> str:
        return f"shared({self.of!r})"


@dataclass(frozen=True, repr=False)
class Tied(Domain):
    """One named choice that serves every site where the same `tied(name, ...)` stands."""

    name: str
    of: Domain

    @property
    def options(self) -> tuple[Any, ...]:
        return self.of.options

    @property
    def ordered(self) -> bool:
        return self.of.ordered

    def __repr__(self) -> str:
        return f"tied({self.name!r}, {self.of!r})"


@dataclass(frozen=True, repr=False)
class Repeat(Domain):
    """A tuple of `times` values, each resolved from `template` on its own; `Stage(depth=..., block=...)` writes it."""

    template: Any
    times: Domain

    @property
    def options(self) -> tuple[Any, ...]:
        return tuple((self.template,) * n for n in self.times.options)

    def __repr__(self) -> str:
        return f"repeat({self.template!r}, {self.times!r})"


def one_of(*values: T) -> T:
    """A choice among `values`: numbers, strings, None, tuples, or specs (which may hold choices themselves)."""
    return cast(T, OneOf(values))


def int_range(low: int, high: int, step: int = 1) -> int:
    """A choice among the integers from `low` to `high`, both included."""
    return cast(int, IntRange(low, high, step))


def shared(value: T) -> T:
    """Make the choices inside `value` once for all positions of the stage in which it stands."""
    return cast(T, Shared(value))


def tied(name: str, domain: T) -> T:
    """Make one choice, called `name`, serve every site that holds this same `tied(name, domain)`."""
    if not name.isidentifier():
        raise SpaceError(f"tied({name!r}, ...): the name must be an identifier such as 'width'")
    if not isinstance(domain, (OneOf, IntRange)):
        raise SpaceError(f"tied({name!r}, {domain!r}): expected one_of(...) or int_range(...)")
    if name in tie_names(domain):
        raise SpaceError(f"tied({name!r}, ...) is circular: its own options hold tied({name!r}, ...) again")
    return cast(T, Tied(name, domain))


def as_floats(value: Any) -> Any:
    """`value` with every integer that it is, or lets choose, as a float: `one_of(1, 2)` in a field of floats."""
    if type(value) is int:
        return float(value)
    if isinstance(value, (OneOf, IntRange)):
        return OneOf(tuple(map(as_floats, value.options)))
    if isinstance(value, Shared):
        return Shared(as_floats(value.of))
    return Tied(value.name, as_floats(value.of)) if isinstance(value, Tied) else value


def children(value: object) -> Iterator[object]:
    """What stands directly inside a domain, a spec or a tuple."""
    if isinstance(value, Repeat):
        yield value.times
        yield value.template
    elif isinstance(value, (Shared, Tied)):
        yield value.of
    elif isinstance(value, Domain):
        yield from value.options
    elif isinstance(value, tuple):
        yield from value
    elif hasattr(type(value), "__dataclass_fields__"):
        yield from (getattr(value, name) for name in type(value).__dataclass_fields__)  # type: ignore[attr-defined]


def is_open(value: object) -> bool:
    """Whether a domain stands anywhere inside `value`."""
    known = getattr(value, "open_fields", None)
    if known is not None:
        return bool(known)
    return isinstance(value, Domain) or any(map(is_open, children(value)))


def ties(value: object) -> Iterator[Tied]:
    """Every `tied(...)` inside `value`."""
    if isinstance(value, Tied):
        yield value
    for child in children(value):
        yield from ties(child)


def tie_names(value: object) -> frozenset[str]:
    """The names of all ties inside `value`."""
    return frozenset(tie.name for tie in ties(value))


def has_shared(value: object) -> bool:
    """Whether choices inside `value` are shared or tied with others outside it."""
    return isinstance(value, (Shared, Tied)) or any(map(has_shared, children(value)))

"""Specs: immutable, typed descriptions of parts of a network, and the kinds they come in.

A spec is a frozen dataclass with keyword fields. Subclassing a kind is all it takes to define and register one:

    class Blur(Block):
        kernel: Odd = 3

        def build(self, x: Feature) -> nn.Module:
            return BlurModule(x.channels, self.kernel)
"""

from __future__ import annotations

import math
import types
import typing
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields
from functools import cache
from typing import Annotated, Any, ClassVar, Literal, Self, Union, dataclass_transform, get_args, get_origin

from torch import nn

from .domains import Domain, Repeat, as_floats, is_open
from .errors import ShapeError, SpecError, nearest
from .types import Feature, FeatureType, Pyramid

# --------------------------------------------------------------------------- value constraints


@dataclass(frozen=True)
class Rule:
    """A constraint on one value of a field, checked for every option of a domain."""

    text: str
    holds: Callable[[Any], bool]


Positive = Annotated[int, Rule("a positive integer", lambda v: v > 0)]
NonNegative = Annotated[int, Rule("an integer of at least 0", lambda v: v >= 0)]
Odd = Annotated[int, Rule("a positive odd integer", lambda v: v > 0 and v % 2 == 1)]
Factor = Annotated[float, Rule("a positive number", lambda v: v > 0 and math.isfinite(v))]
Probability = Annotated[float, Rule("a number in [0, 1)", lambda v: 0 <= v < 1)]


@dataclass(frozen=True)
class Paper:
    """Where a block comes from. `key` is its row in the catalogue of ideas, empty for textbook operators."""

    title: str
    authors: str
    year: int
    key: str = ""

    def __str__(self) -> str:
        return f"{self.authors}, {self.year}, {self.title}"


# --------------------------------------------------------------------------- specs


class Registry(dict[str, "type[Spec]"]):
    """All concrete specs by class name; files name specs by these names and nothing else is ever loaded."""

    def named(self, name: str) -> type[Spec]:
        """The spec class called `name`."""
        if name not in self:
            raise SpecError(
                f"unknown block {name!r}{nearest(name, self)}. A block of your own is known once its file is imported"
            )
        return self[name]

    def of_kind(self, kind: type[Spec]) -> list[type[Spec]]:
        """The registered specs of one kind, by name."""
        return [self[name] for name in sorted(self) if issubclass(self[name], kind)]


registry = Registry()


@dataclass_transform(frozen_default=True, kw_only_default=True)
class Spec(ABC):
    """An immutable, typed description of a part of a network: plain data, no tensors."""

    __dataclass_fields__: ClassVar[dict[str, Any]]
    kind: ClassVar[str] = "spec"
    paper: ClassVar[Paper | None] = None
    abstract: ClassVar[bool] = True
    repeated: ClassVar[tuple[str, ...]] = ()
    """Fields that repeat one unit along depth; `shared(...)` inside them means the same choice at every position."""

    def __init_subclass__(cls, *, kind: str | None = None) -> None:
        super().__init_subclass__()
        cls.abstract = kind is not None
        if kind is not None:
            cls.kind = kind
        dataclass(frozen=True, kw_only=True, repr=False)(cls)
        cls.__hash__ = Spec.__hash__  # type: ignore[method-assign]
        if not cls.abstract:
            known = registry.get(cls.__name__)
            if known is not None and (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
                raise SpecError(
                    f"two blocks are called {cls.__name__!r}: {known.__module__}.{known.__qualname__} and "
                    f"{cls.__module__}.{cls.__qualname__}; rename one, files find blocks by name"
                )
            registry[cls.__name__] = cls

    def __post_init__(self) -> None:
        cls = type(self)
        for name, hint in field_types(cls).items():
            value = getattr(self, name)
            if _wants_float(hint):  # or files, which keep numbers as floats there, would read back something else
                value = as_floats(value)
                object.__setattr__(self, name, value)
            problem = misfit(value, hint)
            if problem:
                raise SpecError(f"{cls.__name__}.{name}: {problem}")
        object.__setattr__(self, "_open", tuple(f.name for f in fields(self) if is_open(getattr(self, f.name))))

    def __hash__(self) -> int:
        cached: int | None = self.__dict__.get("_hash")
        if cached is None:
            cached = hash((type(self), *(getattr(self, f.name) for f in fields(self))))
            object.__setattr__(self, "_hash", cached)
        return cached

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k != "_hash"}  # string hashes differ between processes

    def __repr__(self) -> str:
        given = []
        for field in fields(self):
            value = getattr(self, field.name)
            if field.default is MISSING or value != field.default or isinstance(value, Domain):
                given.append(f"{field.name}={value!r}")
        return f"{type(self).__name__}({', '.join(given)})"

    @property
    def has_choices(self) -> bool:
        """Whether a domain stands anywhere inside: a space, not an architecture."""
        return bool(self.__dict__["_open"])

    @property
    def open_fields(self) -> tuple[str, ...]:
        """The names of the fields that hold choices."""
        names: tuple[str, ...] = self.__dict__["_open"]
        return names

    def replaced(self, values: dict[str, Any], still_open: tuple[str, ...] = ()) -> Self:
        """A copy with `values` in some fields, known to be valid; of the fields with choices only `still_open` keep theirs.

        What `dataclasses.replace` does, without checking again what was checked when the space was written.
        """
        new = object.__new__(type(self))
        new.__dict__.update(self.__dict__)
        new.__dict__.pop("_hash", None)
        new.__dict__.update(values, _open=tuple(name for name in self.open_fields if name in still_open))
        return new

    @abstractmethod
    def output(self, x: Any) -> FeatureType:
        """The feature type this yields for input type `x`.

        Raises:
            ShapeError: `x` does not fit; the message names the constraint and what would work.
        """

    @abstractmethod
    def build(self, x: Any) -> nn.Module:
        """The plain PyTorch module for input type `x`."""


@cache
def field_types(cls: type[Spec]) -> dict[str, Any]:
    """The annotation of every field of a spec class, `Annotated` rules kept."""
    try:
        hints = typing.get_type_hints(cls, include_extras=True)
    except NameError as error:
        raise SpecError(
            f"{cls.__name__}: an annotation cannot be resolved ({error}); define it at module level"
        ) from None
    return {field.name: hints[field.name] for field in fields(cls)}


def _wants_float(hint: Any) -> bool:
    if get_origin(hint) is Annotated:
        return _wants_float(get_args(hint)[0])
    if get_origin(hint) in (Union, types.UnionType):
        return any(map(_wants_float, get_args(hint))) and not any(a is int for a in get_args(hint))
    return hint is float


def describe(hint: Any) -> str:
    """The values that a field of this type takes, in words."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        rules = [rule.text for rule in arguments[1:] if isinstance(rule, Rule)]
        return rules[0] if rules else describe(arguments[0])
    if origin in (Union, types.UnionType):
        return " or ".join(describe(a) for a in arguments)
    if origin is Literal:
        return " or ".join(repr(a) for a in arguments)
    if hint is type(None):
        return "None"
    if isinstance(hint, type) and issubclass(hint, Spec):
        names = [spec.__name__ for spec in registry.of_kind(hint)]
        return f"a {hint.kind} ({', '.join(names[:12])}{', ...' if len(names) > 12 else ''})"
    return str(getattr(hint, "__name__", hint))


def _fits(value: object, hint: Any) -> bool:
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is Any:
        return True
    if origin is Annotated:
        rules = (rule for rule in arguments[1:] if isinstance(rule, Rule))
        return _fits(value, arguments[0]) and all(rule.holds(value) for rule in rules)
    if origin in (Union, types.UnionType):
        return any(_fits(value, a) for a in arguments)
    if origin is Literal:
        return any(value == a and type(value) is type(a) for a in arguments)
    if origin is tuple:
        if not isinstance(value, tuple):
            return False
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return all(misfit(v, arguments[0]) is None for v in value)
        return len(value) == len(arguments) and all(misfit(v, a) is None for v, a in zip(value, arguments, strict=True))
    if hint is None or hint is type(None):
        return value is None
    if hint is float:
        return type(value) in (int, float)
    if hint in (int, str, bool):
        return type(value) is hint
    return isinstance(value, hint)


def misfit(value: object, hint: Any) -> str | None:
    """Why `value` (or an option of it, where it is a domain) does not belong in a field of type `hint`; None if it does."""
    if isinstance(value, Repeat):
        return misfit((value.template,), hint)
    if isinstance(value, Domain):
        return next((problem for option in value.options if (problem := misfit(option, hint))), None)
    if _fits(value, hint):
        return None
    given = f"{value!r} (a {value.kind})" if isinstance(value, Spec) else repr(value)
    return f"expected {describe(hint)}, got {given}"


# --------------------------------------------------------------------------- kinds


def same_type(spec: Spec, x: Feature, y: FeatureType) -> Feature:
    """`x`, once it is sure that `spec` yields `y == x`."""
    if y != x:
        raise ShapeError(f"{type(spec).__name__} must keep its input type {x}, but yields {y}")
    return x


class _Keeps(Spec, kind="shape-keeping spec"):
    """Feature to the same Feature."""

    def output(self, x: Feature) -> Feature:
        return x


class _Resamples(Spec, kind="resampling spec"):
    """Feature to Feature with `width` channels (None: as many as the input) and every size divided by `stride`, rounded up.

    The host sets both fields (a stage its blocks', a bottleneck its operator's), so a space leaves them alone.
    """

    width: Positive | None = None
    stride: Positive = 1

    def output(self, x: Feature) -> Feature:
        return x.at(self.width, self.stride)

    def at(self, width: int | None, stride: int) -> Self:
        """The same spec yielding `width` channels at `stride`."""
        return self.replaced({"width": width, "stride": stride}, self.open_fields)


class Operator(_Resamples, kind="operator"):
    """A convolution-like map used inside blocks: Feature to Feature of `width` channels at `stride`."""


class Gate(_Keeps, kind="gate"):
    """Rescales its input with weights computed from it: Feature to the same Feature."""


class Mixer(_Keeps, kind="mixer"):
    """Mixes positions (space): Feature to the same Feature."""


class ChannelMixer(_Keeps, kind="channel mixer"):
    """Mixes channels at each position: Feature to the same Feature."""


class Block(_Keeps, kind="block"):
    """A residual-style unit that keeps its input type; a stage puts a downsampling in front where it must change it."""

    def at(self, width: int | None, stride: int) -> Spec:
        """This block behind a downsampling to `width` and `stride` (left out where nothing changes)."""
        from .network import Transition  # the one container that blocks know of

        return Transition(block=self, width=width, stride=stride)


class StridedBlock(Block, kind="block"):
    """A block that changes width and stride by itself: Feature to Feature of `width` channels at `stride`."""

    width: Positive | None = None
    stride: Positive = 1

    def output(self, x: Feature) -> Feature:
        return x.at(self.width, self.stride)

    def at(self, width: int | None, stride: int) -> StridedBlock:
        """The same block yielding `width` channels at `stride`."""
        return self.replaced({"width": width, "stride": stride}, self.open_fields)


class Stem(Spec, kind="stem"):
    """The entry of a network: image to Feature of `width` channels."""

    width: Positive


class Downsample(_Resamples, kind="downsample"):
    """Reduces resolution between stages: Feature to Feature of `width` channels at `stride`."""


class Upsample(_Resamples, kind="upsample"):
    """Raises resolution: Feature to Feature of `width` channels, every size multiplied by `stride`."""

    def output(self, x: Feature) -> Feature:
        return Feature(self.width or x.channels, tuple(n * self.stride for n in x.size))


class Topology(Spec, kind="topology"):
    """A backbone or a part of one: Feature or `Pyramid` to `Pyramid`, finest level first."""

    @abstractmethod
    def output(self, x: Any) -> Pyramid: ...


class Neck(Spec, kind="neck"):
    """Fuses levels: `Pyramid` to `Pyramid`."""

    @abstractmethod
    def output(self, x: Pyramid) -> Pyramid: ...


class Head(Spec, kind="head"):
    """The exit of a network: Feature or `Pyramid` to what the task scores."""


KINDS: tuple[type[Spec], ...] = (
    Operator, Gate, Mixer, ChannelMixer, Block, Stem, Downsample, Upsample, Topology, Neck, Head,
)  # fmt: skip


def kind_named(name: str) -> type[Spec]:
    """The kind called `name` ("gate", "channel mixer", ...)."""
    for kind in KINDS:
        if kind.kind == name:
            return kind
    raise SpecError(f"unknown kind {name!r}{nearest(name, (k.kind for k in KINDS))}")

"""Every block of the registry in every position it fits, with its fields varied one at a time."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator
from dataclasses import MISSING, fields
from typing import Annotated, Any, Literal, get_args, get_origin

from archfront.space import (
    Architecture,
    Block,
    ChannelMixer,
    Downsample,
    Feature,
    Gate,
    Head,
    Image,
    Mixer,
    Network,
    Operator,
    Part,
    Pyramid,
    ShapeError,
    Spec,
    SpecError,
    Stage,
    Stem,
    Topology,
    Upsample,
    registry,
)
from archfront.space.domains import children
from archfront.space.library.block.absolute_position import AbsolutePosition
from archfront.space.library.block.basic import BasicBlock
from archfront.space.library.block.bottleneck import Bottleneck
from archfront.space.library.block.mbconv import MBConv
from archfront.space.library.block.metaformer import MetaFormer
from archfront.space.library.head.cascade_classifier import CascadeClassifier
from archfront.space.library.head.classifier import Classifier
from archfront.space.library.mixer.average_pool import AveragePool
from archfront.space.library.stem.convolution import ConvStem
from archfront.space.library.topology.stream_transition import StreamTransition
from archfront.space.spec import Factor, NonNegative, Odd, Positive, Probability, field_types

REQUIRED = {"width": 16, "classes": 5}
HOSTED = ("width", "stride")
INPUT = Image(3, 16, 12)
ODD = Image(3, 13, 9)
INNER = (BasicBlock, MBConv, AbsolutePosition)
"""Blocks that stand for all of them inside other blocks and topologies."""


def library() -> list[type[Spec]]:
    """The blocks that ship, by name; what tests define themselves is left out."""
    return [cls for cls in registry.of_kind(Spec) if cls.__module__.startswith("archfront.space.library.")]


def required(cls: type[Spec]) -> dict[str, Any]:
    """Values for the fields that have no default: a number by name, a spec by kind."""
    hints = field_types(cls)
    return {
        f.name: REQUIRED[f.name] if f.name in REQUIRED else next(_values(hints[f.name], None))
        for f in fields(cls)
        if f.default is MISSING
    }


def plain(cls: type[Spec]) -> Spec:
    """The block with its defaults."""
    return cls(**required(cls))


def variants(cls: type[Spec]) -> list[Spec]:
    """The block with its defaults, and with one field at a time set to another value of its type."""
    base = required(cls)
    found = [cls(**base)]
    for name, hint in field_types(cls).items():
        if name in HOSTED and not issubclass(cls, (Stem, Head)):
            continue
        for value in _values(hint, base.get(name, getattr(found[0], name))):
            try:
                found.append(cls(**{**base, name: value}))
            except SpecError:
                continue
    return list(dict.fromkeys(found))


def _values(hint: Any, default: Any) -> Iterator[Any]:
    if get_origin(hint) in (typing.Union, types.UnionType):
        for argument in get_args(hint):
            yield from _values(argument, default)
    elif get_origin(hint) is Literal:
        yield from get_args(hint)
    elif hint is bool:
        yield from (False, True)
    elif hint is type(None):
        yield None
    elif hint in (Odd, Positive, NonNegative, Factor, Probability) or get_origin(hint) is Annotated:
        yield from _numbers(hint, default)
    elif isinstance(hint, type) and issubclass(hint, Spec):
        # two of the kind: each is tested in a host of its own, and all in all hosts would be thousands
        yield from [plain(c) for c in library() if issubclass(c, hint)][:2]


def _numbers(hint: Any, default: Any) -> Iterator[Any]:
    number = default if isinstance(default, (int, float)) and default else 1
    if hint == Odd:
        yield from (int(number), int(number) + 2)
    elif hint == Probability:
        yield 0.1
    elif hint in (Positive, NonNegative):
        yield from (int(number), 2 * int(number))
    else:
        yield from (float(number), 2.0 * float(number))


def network(spec: Spec, width: int = 32, stride: int = 2, stem: int = 16) -> Network:
    """A small network in which `spec` stands where its kind belongs."""
    head = Classifier(classes=5)
    if isinstance(spec, Stem):
        stage = Stage(width=width, stride=stride, block=MBConv(expand=2.0))
        return Network(stem=spec, stages=(stage,), head=head)
    if isinstance(spec, (Head, Topology)):
        stage = Stage(width=width, stride=stride, block=MBConv(expand=2.0))
        levels = (StreamTransition(widths=(8, 16)),) if takes(spec) is Pyramid else ()
        if isinstance(spec, Head):
            return Network(stem=ConvStem(width=stem), stages=(stage, *levels), head=spec)
        cascade = CascadeClassifier(classes=5, block=MBConv(expand=2.0), features=16)
        return Network(stem=ConvStem(width=stem), stages=(stage, *levels, spec), head=cascade)
    if isinstance(spec, Downsample):
        stage = Stage(width=width, stride=stride, downsample=spec, block=MBConv(expand=2.0))
    elif isinstance(spec, Gate):
        stage = Stage(width=width, stride=stride, block=MBConv(expand=2.0, gate=spec))
    elif isinstance(spec, Mixer):
        stage = Stage(width=width, stride=stride, block=MetaFormer(mixer=spec))
    elif isinstance(spec, ChannelMixer):
        stage = Stage(width=width, stride=stride, block=MetaFormer(mixer=AveragePool(), channel_mixer=spec))
    elif isinstance(spec, Operator):
        stage = Stage(width=width, stride=stride, depth=2, block=Bottleneck(operator=spec))
    elif isinstance(spec, Block):
        stage = Stage(width=width, stride=stride, depth=2, block=spec)
    else:
        raise TypeError(f"no host for {spec!r}")
    return Network(stem=ConvStem(width=stem), stages=(stage,), head=head)


def takes(spec: Spec) -> Any:
    """The feature type that `spec` is fed, as the signature of its `output` has it."""
    return typing.get_type_hints(type(spec).output)["x"]


def hosted() -> list[type[Spec]]:
    """The blocks that have a place in a network of stages."""
    return [cls for cls in library() if not issubclass(cls, Upsample)]


def architecture(cls: type[Spec], x: Feature = INPUT) -> Architecture:
    """The small network around a block with its defaults."""
    return Architecture(x, network(plain(cls)))


def odd_architecture(cls: type[Spec]) -> Architecture:
    """The same for maps of odd extents, which strides and windows do not divide; for `INPUT` where the block refuses them."""
    try:
        return architecture(cls, ODD)
    except ShapeError:
        return architecture(cls)


def own_parts(cls: type[Spec], x: Feature) -> list[Part]:
    """The parts that a block stands in, of every variant that fits `x`, each once; all of them where it is made of parts."""
    parts = [part for found in architectures(cls, x) for part in found.parts]
    own = [part for part in parts if holds(part.spec, cls)]
    return list(dict.fromkeys(Part("", part.spec, part.input) for part in own or parts))


def holds(value: Any, cls: type[Spec]) -> bool:
    """Whether a block of a class stands anywhere in `value`."""
    return isinstance(value, cls) or any(holds(child, cls) for child in children(value))


def architectures(cls: type[Spec], x: Feature = INPUT) -> list[Architecture]:
    """The small network around every variant of a block that fits `x`."""
    found = []
    for spec in variants(cls):
        try:
            found.append(Architecture(x, network(spec)))
        except ShapeError:
            continue
    return found

"""How the parameters of a part lie in the shared weights of a supernet, and what a part takes of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor, nn

from archfront.space.errors import ShapeError
from archfront.space.network import Part
from archfront.space.spec import Spec
from archfront.space.types import Feature, FeatureType, Pyramid


class Layout(NamedTuple):
    """How one parameter of a part lies in the store.

    Args:
        name: its name in the module of the part.
        key: its name in the store, behind the path of the part: attribute and class of every module on the way, so
            that different operators at one position never share by accident.
        shape: its shape in this part.
        outputs: number of equal segments along dimension 0, each sliced on its own.
        inputs: the same along dimension 1.
        along: the dimensions that hold what a part is fed, where that is made of numbered segments.
        segments: their numbers.
        unit: the extent of one segment in the store; 0 where that is not known.
    """

    name: str
    key: str
    shape: tuple[int, ...]
    outputs: int = 1
    inputs: int = 1
    along: tuple[int, ...] = ()
    segments: tuple[int, ...] = ()
    unit: int = 0

    @property
    def segment(self) -> int:
        """The extent of one segment in this part; 0 where there are none."""
        return self.shape[self.along[0]] // len(self.segments) if self.along else 0


def layouts(module: nn.Module) -> Iterator[Layout]:
    """The layout of every parameter of a module.

    A module class declares what is fused: `fused_outputs = {"qkv": 3}` says that the parameters of its child `qkv` (or
    its own parameter of that name) hold three segments along dimension 0; `fused_inputs` says it for dimension 1.
    """
    seen: set[int] = set()

    def visit(at: nn.Module, name: str, key: str, segments: tuple[int, int]) -> Iterator[Layout]:
        key = f"{key}{type(at).__name__}/"
        outputs: Mapping[str, int] = getattr(at, "fused_outputs", {})
        inputs: Mapping[str, int] = getattr(at, "fused_inputs", {})

        def inside(child: str) -> tuple[int, int]:
            return segments[0] * outputs.get(child, 1), segments[1] * inputs.get(child, 1)

        for child, parameter in at.named_parameters(recurse=False):
            if id(parameter) not in seen:
                seen.add(id(parameter))
                yield Layout(f"{name}{child}", f"{key}{child}", tuple(parameter.shape), *inside(child))
        for child, module in at.named_children():
            yield from visit(module, f"{name}{child}.", f"{key}{child}:", inside(child))

    yield from visit(module, "", "", (1, 1))


@lru_cache(maxsize=65_536)
def part_layouts(spec: Spec, x: FeatureType) -> tuple[Layout, ...]:
    """The layouts of the part that `spec` builds on `x`, found on the meta device."""
    with torch.device("meta"):
        return tuple(layouts(spec.build(x)))


def layouts_of(part: Part) -> tuple[Layout, ...]:
    """The layouts of a part; they tell the segments of what it is fed, such as the nodes of the cell before it."""
    found = part_layouts(part.spec, part.input)
    segments = {level.segments for level in _levels(part.input)}
    if len(segments) != 1 or segments == {()}:
        return found
    fed = _fed(part.spec, part.input)
    return tuple(
        layout._replace(along=along, segments=next(iter(segments))) if along else layout
        for layout, along in zip(found, fed, strict=True)
    )


@lru_cache(maxsize=8192)
def _fed(spec: Spec, x: FeatureType) -> tuple[tuple[int, ...], ...]:
    """For every layout the dimensions along which the channels of `x` lie: of their extent, and twice that for twice as many.

    None of those that are fused, and none at all where the part takes no more channels.
    """
    channels = {level.channels for level in _levels(x)}
    try:
        doubled = {layout.name: layout for layout in part_layouts(spec, _doubled(x))}
    except ShapeError:
        return ((),) * len(part_layouts(spec, x))

    def along(own: Layout) -> tuple[int, ...]:
        other = doubled.get(own.name, own)
        sides = zip(own.shape[:2], other.shape[:2], (own.outputs, own.inputs), strict=False)  # biases have one
        return tuple(
            dim
            for dim, (extent, twice, fused) in enumerate(sides)
            if extent in channels and twice == 2 * extent and fused == 1
        )

    return tuple(along(layout) for layout in part_layouts(spec, x))


def _levels(x: FeatureType) -> tuple[Feature, ...]:
    return x.levels if isinstance(x, Pyramid) else (x,) if isinstance(x, Feature) else ()


def _doubled(x: FeatureType) -> FeatureType:
    if isinstance(x, Pyramid):
        return Pyramid(tuple(level.at(2 * level.channels) for level in x.levels))
    return x.at(2 * x.channels) if isinstance(x, Feature) else x


def take(stored: Tensor, layout: Layout) -> Tensor:
    """The view (a copy where segments are gathered) of a stored tensor that a parameter of this layout is.

    Fused segments begin where the stored extent, less what is left over, is divided by their number. Numbered segments
    begin at their number times the stored extent of one; where that many do not fit, because no architecture of the
    space has all of them at once, they are the leading ones.
    """
    for dim in layout.along:
        stored = _gathered(stored, dim, layout)
    if stored.shape == layout.shape:
        return stored
    for dim, segments in enumerate((layout.outputs, layout.inputs)):
        if dim < stored.dim() and stored.shape[dim] != layout.shape[dim]:
            size = layout.shape[dim] // segments
            if segments == 1:
                stored = stored.narrow(dim, 0, size)
            else:
                whole = stored.narrow(dim, 0, stored.shape[dim] // segments * segments)
                parts = whole.unflatten(dim, (segments, -1))  # type: ignore[no-untyped-call]
                stored = parts.narrow(dim + 1, 0, size).flatten(dim, dim + 1).contiguous()
    for dim in range(2, stored.dim()):
        if stored.shape[dim] != layout.shape[dim]:
            stored = stored.narrow(dim, (stored.shape[dim] - layout.shape[dim]) // 2, layout.shape[dim])
    return stored


def _gathered(stored: Tensor, dim: int, layout: Layout) -> Tensor:
    every = tuple(range(stored.shape[dim] // layout.unit)) if layout.unit else ()
    if max(layout.segments) >= len(every) or (layout.segments, layout.segment) == (every, layout.unit):
        return stored
    return torch.cat([stored.narrow(dim, number * layout.unit, layout.segment) for number in layout.segments], dim)

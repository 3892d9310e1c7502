"""The weight store: for every position, module class and parameter, one tensor at the largest shape the space asks for.

A candidate takes its own parameters as views: leading channels along the first two dimensions, the centre along the
others (kernels), and, where a module says that a parameter is fused of equal segments, the leading part of each.
Sliced like this, every architecture of the space trains the same weights (Cai et al., 2020, Once-for-All; Yu et al.,
2020, BigNAS).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor, nn

from archfront.space.errors import ArchfrontError
from archfront.space.network import Part
from archfront.space.space import Space
from archfront.space.spec import Spec
from archfront.space.types import FeatureType


class SupernetError(ArchfrontError):
    """The supernet cannot hold or give what it was asked for."""


class Layout(NamedTuple):
    """How one parameter of a part lies in the store.

    Args:
        name: its name in the module of the part.
        key: its name in the store, behind the path of the part: attribute and class of every module on the way, so
            that different operators at one position never share by accident.
        shape: its shape in this part.
        outputs: number of equal segments along dimension 0, each sliced on its own.
        inputs: the same along dimension 1.
    """

    name: str
    key: str
    shape: tuple[int, ...]
    outputs: int = 1
    inputs: int = 1


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


def take(stored: Tensor, layout: Layout) -> Tensor:
    """The view (a copy where segments are gathered) of a stored tensor that a parameter of this layout is.

    Segments begin where the stored extent, less what is left over, is divided by their number.
    """
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


class Store:
    """The shared parameters of a space, by position and layout key.

    Args:
        space: every architecture of it finds its weights here.
        seed: of the initial values: each parameter as its own module initialises it at the largest shape.
        device: where the parameters live.
    """

    def __init__(self, space: Space, seed: int = 0, device: torch.device | str = "cpu") -> None:
        self.space = space
        shapes, largest = _largest(space.parts())
        self.parameters: dict[str, nn.Parameter] = {}
        modules: dict[Part, dict[str, Tensor]] = {}
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(seed)
            for name, shape in shapes.items():
                part, layout = largest[name]
                if part not in modules:
                    modules[part] = dict(part.spec.build(part.input).named_parameters())
                value = _grown(modules[part][layout.name].detach(), layout, shape)
                self.parameters[name] = nn.Parameter(value.to(device))

    def views(self, part: Part) -> dict[str, Tensor]:
        """The parameters of a part by their names in its module, as differentiable views."""
        return {layout.name: self.view(self.at(part, layout), layout) for layout in part_layouts(part.spec, part.input)}

    def view(self, stored: nn.Parameter, layout: Layout) -> Tensor:
        """What a stored parameter is for a part that wants this layout, differentiable."""
        return take(stored, layout)

    def at(self, part: Part, layout: Layout) -> nn.Parameter:
        """The stored parameter that a layout of a part is cut from."""
        stored = self.parameters.get(f"{part.path}/{layout.key}")
        if stored is None or any(have < want for have, want in zip(stored.shape, layout.shape, strict=True)):
            raise SupernetError(
                f"{part.path}: the supernet has no weights for {part.spec!r} on {part.input}; it was made for another space"
            )
        return stored

    def state_dict(self) -> dict[str, Tensor]:
        """All parameters by name, detached."""
        return {name: parameter.detach() for name, parameter in self.parameters.items()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take over the values of another store of the same space."""
        if state.keys() != self.parameters.keys():
            odd = sorted(state.keys() ^ self.parameters.keys())
            raise SupernetError(f"these weights belong to another space: {len(odd)} names differ, such as {odd[0]!r}")
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                if parameter.shape != state[name].shape:
                    raise SupernetError(
                        f"these weights belong to another space: {name} is {tuple(state[name].shape)} there, "
                        f"{tuple(parameter.shape)} here"
                    )
                parameter.copy_(state[name])


def _largest(parts: Iterator[Part]) -> tuple[dict[str, tuple[int, ...]], dict[str, tuple[Part, Layout]]]:
    """For every stored name the largest extent along each dimension, and the part that comes closest to it."""
    shapes: dict[str, tuple[int, ...]] = {}
    largest: dict[str, tuple[Part, Layout]] = {}
    for part in parts:
        for layout in part_layouts(part.spec, part.input):
            name = f"{part.path}/{layout.key}"
            if name not in shapes:
                shapes[name], largest[name] = layout.shape, (part, layout)
                continue
            if len(shapes[name]) != len(layout.shape):
                raise SupernetError(
                    f"{name} has {len(shapes[name])} dimensions under one choice and {len(layout.shape)} under another; "
                    "use different attribute names or classes for the two"
                )
            shapes[name] = tuple(map(max, shapes[name], layout.shape))
            if _count(layout.shape) > _count(largest[name][1].shape):
                largest[name] = part, layout
    return shapes, largest


def _count(shape: tuple[int, ...]) -> int:
    return torch.Size(shape).numel()


def _grown(value: Tensor, layout: Layout, shape: tuple[int, ...]) -> Tensor:
    """`value` inside a tensor of `shape`; what lies around it is drawn with the same mean and deviation."""
    if tuple(value.shape) == shape:
        return value.clone()
    spread = value.std() if value.numel() > 1 else value.new_zeros(())
    grown = value.mean() + spread * torch.randn(shape, dtype=value.dtype)
    own = layout._replace(shape=tuple(value.shape))
    if layout.outputs == layout.inputs == 1:
        take(grown, own).copy_(value)
    return grown

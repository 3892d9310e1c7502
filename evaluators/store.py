"""The weight store: for every position, module class and parameter, one tensor at the largest shape the space asks for.

A candidate takes its own parameters as views: leading channels along the first two dimensions, the centre along the
others (kernels), and, where a module says that a parameter is fused of equal segments, the leading part of each. What
reads the concatenation of other values (the nodes of a cell) takes the weights of each of them, wherever it stands.
Sliced like this, every architecture of the space trains the same weights (Cai et al., 2020, Once-for-All; Yu et al.,
2020, BigNAS).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import Tensor, nn

from archfront.space.errors import ArchfrontError
from archfront.space.network import Part
from archfront.space.space import Space
from archfront.space.types import Feature, FeatureType, Pyramid, Tokens

from .layout import Layout, layouts_of, part_layouts, take


class SupernetError(ArchfrontError):
    """The supernet cannot hold or give what it was asked for."""


class Store:
    """The shared parameters of a space, by position and layout key.

    A position where the space offers maps of several sizes has parameters for each of them, as the nodes of a fabric have
    (Saxena and Verbeek, 2016, Convolutional Neural Fabrics). What has learned at 3x3, where most of a large kernel lies
    on padding, does not serve at 6x6; shared between the two, it hides what the larger map is worth.

    Args:
        space: every architecture of it finds its weights here.
        seed: of the initial values: each parameter as its own module initialises it at the largest shape.
        device: where the parameters live.
    """

    def __init__(self, space: Space, seed: int = 0, device: torch.device | str = "cpu") -> None:
        self.space = space
        parts = list(space.parts())
        self._several = _several_sizes(parts)
        shapes, largest = self._largest(parts)
        self._units = self._largest_units(parts)
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

    def name(self, part: Part, layout: Layout) -> str:
        """What a parameter of a part is called here."""
        name = f"{part.path}/{layout.key}"
        if name in self._several:
            name += f" from {_text(part.input)} to {_text(part.spec.output(part.input))}"
        return name

    def views(self, part: Part) -> dict[str, Tensor]:
        """The parameters of a part by their names in its module, as differentiable views."""
        return {layout.name: self.view(stored, layout) for layout, stored in self.cuts(part)}

    def cuts(self, part: Part) -> Iterator[tuple[Layout, nn.Parameter]]:
        """The parameters of a part as they lie in the store, and what in it they are cut from."""
        for layout in layouts_of(part):
            yield layout._replace(unit=self._units.get(self.name(part, layout), 0)), self.at(part, layout)

    def view(self, stored: nn.Parameter, layout: Layout) -> Tensor:
        """What a stored parameter is for a part that wants this layout, differentiable."""
        return take(stored, layout)

    def at(self, part: Part, layout: Layout) -> nn.Parameter:
        """The stored parameter that a layout of a part is cut from."""
        stored = self.parameters.get(self.name(part, layout))
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

    def _largest_units(self, parts: Iterable[Part]) -> dict[str, int]:
        """For every stored name that holds numbered segments the largest extent of one."""
        units: dict[str, int] = {}
        for part in parts:
            for layout in layouts_of(part):
                if layout.along:
                    name = self.name(part, layout)
                    units[name] = max(units.get(name, 0), layout.segment)
        return units

    def _largest(self, parts: Iterable[Part]) -> tuple[dict[str, tuple[int, ...]], dict[str, tuple[Part, Layout]]]:
        """For every stored name the largest extent along each dimension, and the part that comes closest to it."""
        shapes: dict[str, tuple[int, ...]] = {}
        largest: dict[str, tuple[Part, Layout]] = {}
        for part in parts:
            for layout in part_layouts(part.spec, part.input):
                name = self.name(part, layout)
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


def _several_sizes(parts: Iterable[Part]) -> set[str]:
    """The names of parameters of parts that lead between maps of different sizes, before these are told apart."""
    found: dict[str, set[tuple[str, str]]] = {}
    for part in parts:
        sizes = _text(part.input), _text(part.spec.output(part.input))
        for layout in part_layouts(part.spec, part.input):
            found.setdefault(f"{part.path}/{layout.key}", set()).add(sizes)
    return {name for name, sizes in found.items() if len(sizes) > 1}


def _text(x: FeatureType) -> str:
    """The extents of a map, or of several, or the length of a sequence; nothing of scores."""
    if isinstance(x, Pyramid):
        return ", ".join(map(_text, x.levels))
    extents = x.size if isinstance(x, Feature) else (x.length,) if isinstance(x, Tokens) else ()
    return "x".join(map(str, extents))


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

"""Kernels that are mapped to smaller ones: the centre of a kernel, multiplied by a trained matrix.

A kernel that serves well at 7x7 need not have a centre that serves well at 3x3. With a matrix between, the same for all
channels, both can share weights (Cai et al., 2020, Once-for-All).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from archfront.space.space import Space

from .layout import Layout, part_layouts, take
from .store import Store

KERNEL = "Conv2d/weight"
"""How the keys of what is mapped end."""


class KernelMap(NamedTuple):
    """From a kernel to one of a smaller extent (height, width) by a matrix (height * width, height * width)."""

    extent: tuple[int, ...]
    matrix: nn.Parameter


class MappedStore(Store):
    """A store in which smaller kernels are mapped from larger ones, 7x7 to 5x5 to 3x3, extent by extent.

    Every position and convolution has a matrix for each extent but its largest. They begin as identities, and so as the
    store without them. Where an extent fits in the next larger one along one dimension only (1x7 and 7x1), that one is
    passed over.
    """

    def __init__(self, space: Space, seed: int = 0, device: torch.device | str = "cpu") -> None:
        super().__init__(space, seed, device)
        self.maps: dict[nn.Parameter, list[KernelMap]] = {}
        for name, extents in self._extents(space).items():
            stored = self.parameters[name]
            self.maps[stored] = [self._map(name, extent, device) for extent in extents if extent != stored.shape[2:]]

    def _map(self, name: str, extent: tuple[int, ...], device: torch.device | str) -> KernelMap:
        matrix = nn.Parameter(torch.eye(torch.Size(extent).numel(), device=device))
        self.parameters[f"{name} to {'x'.join(map(str, extent))}"] = matrix
        return KernelMap(extent, matrix)

    def _extents(self, space: Space) -> dict[str, list[tuple[int, ...]]]:
        """For every convolution the extents that its kernel has in the space, from larger to smaller."""
        found: dict[str, set[tuple[int, ...]]] = {}
        for part in space.parts():
            for layout in part_layouts(part.spec, part.input):
                if layout.key.endswith(KERNEL):
                    found.setdefault(self.name(part, layout), set()).add(layout.shape[2:])
        return {name: sorted(extents, key=lambda e: (-e[0] * e[1], e)) for name, extents in found.items()}

    def view(self, stored: nn.Parameter, layout: Layout) -> Tensor:
        """What a stored parameter is for a part that wants this layout, mapped where it is a kernel."""
        return mapped(stored, layout, nested(self.maps.get(stored, ()), tuple(stored.shape[2:]), layout.shape[2:]))


def nested(maps: Sequence[KernelMap], extent: tuple[int, ...], wanted: tuple[int, ...]) -> list[KernelMap]:
    """Those of `maps` (from larger to smaller) that lead from an extent to the wanted one."""
    way = []
    for step in maps:
        if _fits(wanted, step.extent) and _fits(step.extent, extent):
            way.append(step)
            extent = step.extent
    return way


def mapped(stored: Tensor, layout: Layout, maps: Sequence[KernelMap]) -> Tensor:
    """The parameter of a layout, its last dimensions reached by these maps in turn."""
    if not maps:
        return take(stored, layout)
    kernel = take(stored, layout._replace(shape=(*layout.shape[:2], *stored.shape[2:])))
    for extent, matrix in maps:
        shape = (*layout.shape[:2], *extent)
        centre = take(kernel, Layout(layout.name, layout.key, shape))
        kernel = (centre.flatten(2) @ matrix.T).reshape(shape)
    return kernel


def _fits(inner: tuple[int, ...], outer: tuple[int, ...]) -> bool:
    return all(small <= large for small, large in zip(inner, outer, strict=True))

"""What the specs of the library share: names of options, shape checks, rounding."""

from __future__ import annotations

from typing import Literal

from archfront.space.errors import ShapeError
from archfront.space.spec import Downsample, Operator, Spec, same_type
from archfront.space.types import Feature, FeatureType

Activation = Literal["relu", "relu6", "silu", "gelu", "hardswish"]
Norm = Literal["batch", "layer", "group1"]
"""Batch norm; layer norm over the channels of each position; group norm with one group (over the whole map)."""


class Finished:
    """Marks an operator that normalises and activates by itself: hosts add neither behind it."""


def image(spec: Spec, x: FeatureType) -> Feature:
    """`x`, once it is sure that it is a two-dimensional feature map."""
    if not isinstance(x, Feature) or len(x.size) != 2:
        raise ShapeError(f"{type(spec).__name__} takes channels x height x width, got {x}")
    return x


def kept(path: str, child: Spec, x: Feature) -> Feature:
    """`x`, once it is sure that `child`, which stands in the field `path`, takes it and keeps it."""
    try:
        return same_type(child, x, child.output(x))
    except ShapeError as error:
        raise error.inside(path) from None


def resampled(path: str, child: Operator | Downsample, x: Feature) -> Feature:
    """What `child`, which stands in the field `path`, yields for `x`: its width, sizes over its stride, rounded up."""
    wanted = x.at(child.width, child.stride)
    try:
        found = child.output(x)
        if found != wanted:
            raise ShapeError(f"{type(child).__name__} must yield {wanted} for {x}, but yields {found}")
    except ShapeError as error:
        raise error.inside(path) from None
    return wanted


def scaled(channels: int, factor: float) -> int:
    """`factor * channels` to the nearest integer, at least 1: how every block rounds its inner width."""
    return max(1, round(factor * channels))


def head_count(channels: int, heads: int | None, head_dim: int) -> int:
    """The number of attention heads: `heads`, or where that is None `channels / head_dim`; either must divide."""
    if heads is None and channels % head_dim:
        fits = [n for n in divisors(channels) if 4 <= n <= 64] or divisors(channels)
        raise ShapeError(f"head_dim {head_dim} does not divide {channels} channels; use {listed(fits)}")
    if heads is not None and channels % heads:
        raise ShapeError(f"{heads} heads do not divide {channels} channels; use {listed(divisors(channels))}")
    return heads or channels // head_dim


def divisors(n: int) -> list[int]:
    """Every positive divisor of `n`, in order."""
    return [d for d in range(1, n + 1) if n % d == 0]


def listed(values: list[int]) -> str:
    """`"4, 8 or 16"`."""
    *most, last = map(str, values)
    return f"{', '.join(most)} or {last}" if most else last

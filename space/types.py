"""Feature types: what flows on an edge of a network. Shapes never include the batch dimension."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from .errors import SpecError, nearest

MakeTensor = Callable[..., Tensor]


class FeatureType(ABC):
    """The type of a value between two specs; immutable, hashable, comparable."""

    registry: ClassVar[dict[str, type[FeatureType]]] = {}

    def __init_subclass__(cls) -> None:
        FeatureType.registry[cls.__name__] = cls

    @property
    @abstractmethod
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """The shape of each tensor, without the batch dimension."""

    def example(self, batch: int = 1, make: MakeTensor = torch.randn, **options: Any) -> tuple[Tensor, ...]:
        """Tensors of this type with `batch` rows, filled by `make` (`torch.randn`, `torch.zeros`, ...)."""
        return tuple(make(batch, *shape, **options) for shape in self.shapes)

    def arguments(self, batch: int = 1, make: MakeTensor = torch.randn, **options: Any) -> tuple[Any, ...]:
        """What a module fed this type is called with: the tensors of `example`, those of a pyramid as one tuple."""
        return self.example(batch, make, **options)

    def to_dict(self) -> dict[str, Any]:
        """Plain data that `from_dict` reads back."""
        return {"type": type(self).__name__, **asdict(self, dict_factory=_compared)}  # type: ignore[call-overload]

    @staticmethod
    def from_dict(data: dict[str, Any]) -> FeatureType:
        """The feature type that `to_dict` wrote."""
        name = str(data.get("type"))
        if name not in FeatureType.registry:
            raise SpecError(f"unknown feature type {name!r}{nearest(name, FeatureType.registry)}")
        try:
            return FeatureType.registry[name](**{k: v for k, v in data.items() if k != "type"})
        except TypeError as error:
            raise SpecError(f"feature type {name}: {error}") from None


def _compared(items: list[tuple[str, Any]]) -> dict[str, Any]:
    """What two types are compared by."""
    return {name: value for name, value in items if name != "segments"}


def _positive(owner: str, **values: int) -> None:
    for name, value in values.items():
        if type(value) is not int or value < 1:
            raise SpecError(f"{owner}.{name}: expected a positive integer, got {value!r}")


@dataclass(frozen=True)
class Feature(FeatureType):
    """A grid of feature vectors, laid out (channels, *size): size (H, W) for images, (T,) for sequences.

    Args:
        channels: how long the vectors are.
        size: how many there are along each dimension.
        segments: where the channels are those of several values side by side, equally many of each: the numbers of
            these values. A supernet goes by them to give each value weights of its own wherever it stands; in all else,
            equality included, they do not matter.
    """

    channels: int
    size: tuple[int, ...]
    segments: tuple[int, ...] = field(default=(), compare=False, repr=False, kw_only=True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", tuple(self.size))
        _positive("Feature", channels=self.channels)
        for extent in self.size:
            _positive("Feature", size=extent)

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        return ((self.channels, *self.size),)

    @property
    def positions(self) -> int:
        """Number of grid positions, the product of `size`."""
        count = 1
        for extent in self.size:
            count *= extent
        return count

    def at(self, width: int | None = None, stride: int = 1) -> Feature:
        """The type after a "same"-padded operator: `width` channels (None keeps them), sizes ceil(n / stride)."""
        return Feature(width or self.channels, tuple(-(-n // stride) for n in self.size))

    def __str__(self) -> str:
        return f"{self.channels}x{'x'.join(map(str, self.size))}"


@dataclass(frozen=True)
class Tokens(FeatureType):
    """A sequence of `length` vectors of `width` numbers, laid out (length, width)."""

    length: int
    width: int

    def __post_init__(self) -> None:
        _positive("Tokens", length=self.length, width=self.width)

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        return ((self.length, self.width),)

    def __str__(self) -> str:
        return f"{self.length} tokens of {self.width}"


@dataclass(frozen=True)
class Scores(FeatureType):
    """One unnormalised score (logit) a class."""

    classes: int

    def __post_init__(self) -> None:
        _positive("Scores", classes=self.classes)

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        return ((self.classes,),)

    def __str__(self) -> str:
        return f"{self.classes} scores"


@dataclass(frozen=True)
class Pyramid(FeatureType):
    """Features of one image at several resolutions, finest first."""

    levels: tuple[Feature, ...]

    def __post_init__(self) -> None:
        levels = (Feature(**level) if isinstance(level, dict) else level for level in self.levels)
        object.__setattr__(self, "levels", tuple(levels))

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        return tuple(level.shapes[0] for level in self.levels)

    def arguments(self, batch: int = 1, make: MakeTensor = torch.randn, **options: Any) -> tuple[Any, ...]:
        return (self.example(batch, make, **options),)

    def __str__(self) -> str:
        return f"pyramid ({', '.join(map(str, self.levels))})"


def Image(channels: int, height: int, width: int) -> Feature:  # noqa: N802 - reads as the type it makes
    """The feature type of an image, `Feature(channels, (height, width))`."""
    return Feature(channels, (height, width))

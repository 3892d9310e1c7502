"""Containers: specs made of parts. A part is what is counted, measured, shared and exported as one unit."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import InitVar
from typing import Any, ClassVar, NamedTuple

from torch import Tensor, nn

from .domains import Domain, Repeat
from .errors import ShapeError, SpecError
from .spec import Block, Downsample, Head, Positive, Spec, Stem, Topology
from .types import Feature, FeatureType


class Part(NamedTuple):
    """One part of a container: where it stands, what it is, what it is fed."""

    path: str
    spec: Spec
    input: FeatureType


class Composite(Spec, kind="container"):
    """A spec made of parts; whatever it computes besides them costs nothing and has no parameters."""

    @abstractmethod
    def parts(self, x: Any) -> list[Part]:
        """The direct parts for input type `x`, in the order of the forward pass, paths relative to this spec."""

    @abstractmethod
    def join(self, modules: Sequence[nn.Module]) -> nn.Module:
        """One module that runs the modules of the parts."""

    def build(self, x: Any) -> nn.Module:
        return self.join([part.spec.build(part.input) for part in self.parts(x)])


class Link(NamedTuple):
    """One element of a chain: a spec or a choice of specs, and the width and stride it has to yield, if the chain says."""

    path: str
    spec: Any
    at: tuple[int | None, int] | None = None

    def configured(self, spec: Spec) -> Spec:
        """`spec` (this link's own, or the option chosen for it) at the link's width and stride."""
        return spec.at(*self.at) if self.at else spec  # type: ignore[attr-defined]


class Chain(Composite, kind="container"):
    """A composite whose parts run one after the other. Spaces look into chains: they know the type between any two links."""

    linked: ClassVar[tuple[str, ...]] = ()

    def entry(self, x: Any) -> Any:
        """The type that the first element is fed, for input type `x`; called once fields outside `linked` are decided."""
        return x

    @abstractmethod
    def links(self, x: Any) -> tuple[Link, ...]:
        """The elements in order, for input type `x`, once this spec's fields outside `linked` hold no choice."""

    def parts(self, x: Any) -> list[Part]:
        parts = []
        links, x = self.links(x), self.entry(x)
        for link in links:
            part = Part(link.path, link.configured(link.spec), x)
            try:
                x = part.spec.output(x)
            except ShapeError as error:
                raise error.inside(link.path) from None
            parts.append(part)
        return parts

    def output(self, x: Any) -> FeatureType:
        parts = self.parts(x)
        return parts[-1].spec.output(parts[-1].input)

    def join(self, modules: Sequence[nn.Module]) -> nn.Module:
        return nn.Sequential(*modules)


class Transition(Chain):
    """A downsampling to `width` and `stride` followed by a block that keeps its type; only the block where nothing changes.

    A stage makes it for a block that cannot change width and stride itself.
    """

    block: Block
    width: Positive | None = None
    stride: Positive = 1
    linked = ("block",)

    def links(self, x: Feature) -> tuple[Link, ...]:
        from .library.downsample.convolution import ConvDownsample

        block = Link("", self.block)
        if not isinstance(x, Feature):
            raise ShapeError(f"{type(self.block).__name__} takes one resolution, got {x}")
        if x.at(self.width, self.stride) == x:
            return (block,)
        return Link("downsample", ConvDownsample(width=self.width, stride=self.stride)), block

    def join(self, modules: Sequence[nn.Module]) -> nn.Module:
        return modules[0] if len(modules) == 1 else nn.Sequential(*modules)


class Stage(Chain):
    """Blocks at one resolution and width; the first one (or `downsample`, where given) changes both.

    Written `Stage(width=48, depth=int_range(1, 3), stride=2, block=MBConv(kernel=one_of(3, 5)))`: the choices inside
    `block` are made for each position unless wrapped in `shared(...)`. `blocks=(...)` lists the positions one by one.

    Args:
        width: channels of every block of the stage.
        stride: reduction of the size, done once at the entry of the stage.
        downsample: what reduces it; by default the first block itself, or a strided convolution in front of a block
            that keeps its type.
        blocks: one block a position; `depth` and `block` are the shorter spelling.
    """

    width: Positive
    stride: Positive = 1
    downsample: Downsample | None = None
    blocks: tuple[Block, ...] = ()
    depth: InitVar[int | None] = None
    block: InitVar[Block | None] = None
    linked = ("downsample", "blocks")
    repeated = ("blocks",)

    def __post_init__(self, depth: int | None, block: Block | None) -> None:
        if block is not None:
            if self.blocks:
                raise SpecError("Stage: give either block (with depth) or blocks, not both")
            depth = 1 if depth is None else depth
            if isinstance(depth, Domain):
                _whole_depths(depth)
                object.__setattr__(self, "blocks", Repeat(block, depth))
            elif type(depth) is int and depth >= 1:
                object.__setattr__(self, "blocks", (block,) * depth)
            else:
                raise SpecError(f"Stage.depth: expected a positive integer, got {depth!r}")
        elif depth is not None:
            raise SpecError("Stage.depth needs Stage.block; blocks=(...) lists every position")
        if not self.blocks:
            raise SpecError("Stage needs block=... (with depth=...) or blocks=(...)")
        super().__post_init__()

    def links(self, x: Feature) -> tuple[Link, ...]:
        before: tuple[Link, ...] = ()
        stride = self.stride
        if self.downsample is not None:
            before, stride = (Link("downsample", self.downsample, (self.width, stride)),), 1
        return before + tuple(
            Link(f"blocks[{i}]", block, (self.width, stride if i == 0 else 1)) for i, block in enumerate(self.blocks)
        )


def _whole_depths(depth: Domain) -> None:
    wrong = [n for n in depth.options if type(n) is not int or n < 1]
    if wrong:
        raise SpecError(f"Stage.depth: expected positive integers, got {wrong[0]!r}")


class NetworkModule(nn.Module):
    """A stem, stages in sequence, and a head."""

    def __init__(self, stem: nn.Module, stages: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.stem = stem
        self.stages = stages
        self.head = head

    def forward(self, x: Tensor) -> Tensor:
        """The head's output for a batch of images (N, C, H, W)."""
        output: Tensor = self.head(self.stages(self.stem(x)))
        return output


class Network(Chain):
    """A whole network: a stem, stages in sequence, a head. A topology yields a `Pyramid`, so the head behind it takes one."""

    stem: Stem
    stages: tuple[Stage | Topology, ...]
    head: Head
    linked = ("stem", "stages", "head")

    def links(self, x: Feature) -> tuple[Link, ...]:
        stages = (Link(f"stages[{i}]", stage) for i, stage in enumerate(self.stages))
        return Link("stem", self.stem), *stages, Link("head", self.head)

    def join(self, modules: Sequence[nn.Module]) -> nn.Module:
        stem, *stages, head = modules
        return NetworkModule(stem, nn.Sequential(*stages), head)


def assemble(spec: Spec, x: FeatureType, make: Callable[[Part], nn.Module], path: str = "") -> nn.Module:
    """The module of `spec` with `make` in charge of its parts; `spec.build(x)` is `make = part.spec.build(part.input)`."""
    if not isinstance(spec, Composite):
        return make(Part(path, spec, x))
    return spec.join([assemble(part.spec, part.input, make, below(path, part.path)) for part in spec.parts(x)])


def below(path: str, name: str) -> str:
    """The path of `name` inside `path`; either may be empty."""
    return f"{path}.{name}" if path and name else path or name


def leaves(spec: Spec, x: FeatureType, path: str = "") -> Iterator[Part]:
    """The parts of `spec` that are no containers themselves, in order, with full paths."""
    if not isinstance(spec, Composite):
        yield Part(path, spec, x)
        return
    for part in spec.parts(x):
        yield from leaves(part.spec, part.input, below(path, part.path))

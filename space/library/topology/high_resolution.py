"""Parallel streams of different resolution that keep the finest one to the end."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from archfront.space.library.block.basic import BasicBlock
from archfront.space.library.topology.stream_module import StreamModule
from archfront.space.library.topology.stream_transition import StreamTransition
from archfront.space.network import Chain, Link
from archfront.space.spec import Block, Paper, Positive, Rule, Topology
from archfront.space.types import Feature, Pyramid


class HighResolution(Chain, Topology):
    """Feature to a pyramid of C, 2 C, 4 C, ... channels, C = `width`, the finest level at the resolution of the input.

    Stage s of s streams, s = 2, 3, ...: a `StreamTransition` adds a stream of half the size and twice the width, then
    as many `StreamModule`s as `modules` says follow one another. With `Stage(width=256, depth=4, block=Bottleneck())` at
    a quarter of the image in front and `modules=(1, 4, 3), blocks=4` it is the backbone of HRNet.

    Args:
        width: C.
        modules: modules of each stage, one number a stage; the number of streams is one more.
        blocks: blocks a stream and module.
        block: the blocks, the same choice everywhere.
        upsample: how coarser maps are enlarged in an exchange.

    Wang et al., 2020, Deep High-Resolution Representation Learning for Visual Recognition.
    """

    kind: ClassVar[str] = Topology.kind
    paper: ClassVar[Paper] = StreamTransition.paper

    width: Positive
    modules: Annotated[tuple[Positive, ...], Rule("a tuple of at least one number of modules", len)] = (1, 1, 1)
    blocks: Positive = 2
    block: Block = BasicBlock()
    upsample: Literal["nearest", "bilinear"] = "nearest"

    def links(self, x: Feature) -> tuple[Link, ...]:
        module = StreamModule(block=self.block, depth=self.blocks, upsample=self.upsample)
        links: list[Link] = []
        for streams, count in enumerate(self.modules, start=2):
            widths = tuple(self.width * 2**i for i in range(streams))
            links.append(Link(f"stage{streams}.transition", StreamTransition(widths=widths)))
            links += [Link(f"stage{streams}.modules[{i}]", module) for i in range(count)]
        return tuple(links)

    def output(self, x: Feature) -> Pyramid:
        y = super().output(x)
        assert isinstance(y, Pyramid)
        return y

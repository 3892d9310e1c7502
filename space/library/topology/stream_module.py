"""Blocks on parallel streams, and the exchange between the streams."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch.nn.functional as F
from torch import Tensor, nn

from archfront.space.library.block.basic import BasicBlock
from archfront.space.library.common import kept
from archfront.space.library.common_pyramid import halving
from archfront.space.library.layers import ConvNormAct
from archfront.space.library.topology.stream_transition import StreamTransition
from archfront.space.spec import Block, Paper, Positive, Topology
from archfront.space.types import Feature, Pyramid


def exchange_path(channels: tuple[int, ...], source: int, target: int) -> nn.Module:
    """What stream `source` goes through before it is added to stream `target`; a coarser one is enlarged afterwards."""
    before, after = channels[source], channels[target]
    if source == target:
        return nn.Identity()
    if source > target:
        return ConvNormAct(before, after)
    steps = target - source - 1
    halvings = (ConvNormAct(before, before, 3, 2, activation="relu") for _ in range(steps))
    return nn.Sequential(*halvings, ConvNormAct(before, after, 3, 2))


class StreamExchange(nn.Module):
    """Adds to every stream all others, brought to its width and size, and takes the ReLU of the sum."""

    def __init__(self, channels: tuple[int, ...], upsample: str = "nearest") -> None:
        super().__init__()
        self.upsample = upsample
        self.paths = nn.ModuleList(
            nn.ModuleList(exchange_path(channels, source, target) for source in range(len(channels)))
            for target in range(len(channels))
        )
        self.act = nn.ReLU()

    def forward(self, streams: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return tuple(self.act(self.merged(streams, target)) for target in range(len(streams)))

    def merged(self, streams: tuple[Tensor, ...], target: int) -> Tensor:
        """The sum of all streams at the size of one of them."""
        total = streams[target]
        paths = self.paths[target]
        assert isinstance(paths, nn.ModuleList)
        for source, path in enumerate(paths):
            if source < target:
                total = total + path(streams[source])
            elif source > target:
                total = total + F.interpolate(path(streams[source]), size=total.shape[2:], mode=self.upsample)
        return total


class ParallelStreams(nn.Module):
    """Blocks on every stream, then an exchange between the streams."""

    def __init__(self, streams: tuple[nn.Module, ...], exchange: nn.Module) -> None:
        super().__init__()
        self.streams = nn.ModuleList(streams)
        self.exchange = exchange

    def forward(self, x: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        y: tuple[Tensor, ...] = self.exchange(
            tuple(blocks(level) for blocks, level in zip(self.streams, x, strict=True))
        )
        return y


class StreamModule(Topology):
    """Pyramid to the same pyramid: x_i <- blocks_i(x_i), then y_i = relu(sum_j f_ij(x_j)).

    f_ii is the identity. From a coarser level f_ij is a 1x1 convolution with BN, then an enlargement; from a finer one
    it is 3x3 convolutions of stride 2 with BN, as many as there are halvings, with ReLU after all but the last, which
    changes the width. A single level has nothing to exchange and goes through its blocks alone.

    Args:
        block: the blocks, the same choice on all levels.
        depth: blocks a level; 4 in the paper.
        upsample: how maps are enlarged.

    Wang et al., 2020, Deep High-Resolution Representation Learning for Visual Recognition.
    """

    paper: ClassVar[Paper] = StreamTransition.paper

    block: Block = BasicBlock()
    depth: Positive = 2
    upsample: Literal["nearest", "bilinear"] = "nearest"

    def output(self, x: Pyramid) -> Pyramid:
        for level in halving(self, x):
            kept("block", self.block.at(level.channels, 1), level)
        return x

    def build(self, x: Pyramid) -> nn.Module:
        levels = self.output(x).levels
        exchange = StreamExchange(tuple(level.channels for level in levels), self.upsample)
        streams = tuple(self._stream(level) for level in levels)
        return ParallelStreams(streams, exchange if len(levels) > 1 else nn.Identity())

    def _stream(self, level: Feature) -> nn.Module:
        return nn.Sequential(*(self.block.at(level.channels, 1).build(level) for _ in range(self.depth)))

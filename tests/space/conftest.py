"""Small specs of the tests' own, so that the core is tested without the block library."""

from __future__ import annotations

import pytest
from torch import nn

from archfront.space import (
    Block,
    Factor,
    Feature,
    Gate,
    Head,
    Image,
    Network,
    Odd,
    Positive,
    Scores,
    ShapeError,
    Space,
    Stage,
    Stem,
    StridedBlock,
    int_range,
    one_of,
    shared,
    tied,
)


class TinyStem(Stem):
    """A 3x3 convolution."""

    def output(self, x: Feature) -> Feature:
        return x.at(self.width)

    def build(self, x: Feature) -> nn.Module:
        return nn.Conv2d(x.channels, self.width, 3, padding=1)


class TinyGate(Gate):
    """No gate at all, with one number to choose."""

    ratio: Factor = 0.5

    def build(self, x: Feature) -> nn.Module:
        return nn.Identity()


class TinyConv(StridedBlock):
    """A convolution that changes width and stride."""

    kernel: Odd = 3
    gate: Gate | None = None

    def build(self, x: Feature) -> nn.Module:
        width = self.output(x).channels
        return nn.Conv2d(x.channels, width, self.kernel, self.stride, padding=self.kernel // 2)


class TinyHeads(Block):
    """Keeps its type; fits where `heads` divides the width."""

    heads: Positive = 1

    def output(self, x: Feature) -> Feature:
        if x.channels % self.heads:
            raise ShapeError(f"{self.heads} heads do not divide {x.channels} channels")
        return x

    def build(self, x: Feature) -> nn.Module:
        return nn.Conv2d(x.channels, x.channels, 1, groups=self.heads)


class TinyHead(Head):
    """Mean and linear."""

    classes: Positive

    def output(self, x: Feature) -> Scores:
        return Scores(self.classes)

    def build(self, x: Feature) -> nn.Module:
        return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(x.channels, self.classes))


def small(*stages: Stage, stem: int = 4) -> Space:
    """A space over 3x8x8 images with these stages."""
    return Space(Image(3, 8, 8), Network(stem=TinyStem(width=stem), stages=stages, head=TinyHead(classes=2)))


SPACES = {
    "plain": lambda: small(Stage(width=one_of(4, 6), depth=int_range(1, 2), block=TinyConv(kernel=one_of(1, 3)))),
    "conditional": lambda: small(
        Stage(
            width=4,
            depth=int_range(1, 3),
            block=TinyConv(
                kernel=one_of(1, 3), gate=one_of(None, TinyGate(ratio=one_of(0.25, 0.5)), TinyGate(ratio=2.0))
            ),
        )
    ),
    "constrained": lambda: small(
        Stage(
            width=one_of(4, 6, 9), depth=int_range(1, 2), block=one_of(TinyConv(), TinyHeads(heads=one_of(1, 2, 3, 4)))
        ),
        Stage(width=one_of(6, 8), stride=2, depth=2, block=TinyHeads(heads=one_of(2, 3))),
    ),
    "shared": lambda: small(
        Stage(
            width=4, depth=int_range(1, 3), block=TinyConv(kernel=shared(one_of(1, 3)), gate=one_of(None, TinyGate()))
        ),
        Stage(
            width=one_of(4, 6),
            depth=2,
            block=shared(one_of(TinyConv(kernel=one_of(1, 3)), TinyHeads(heads=one_of(1, 3)))),
        ),
    ),
    "tied": lambda: small(
        Stage(width=tied("w", one_of(4, 6)), depth=int_range(1, 2), block=TinyConv(kernel=tied("k", one_of(1, 3)))),
        Stage(width=tied("w", one_of(4, 6)), depth=2, block=TinyConv(kernel=tied("k", one_of(1, 3)))),
    ),
}


@pytest.fixture(params=sorted(SPACES))
def space(request: pytest.FixtureRequest) -> Space:
    """Each of the small spaces."""
    return SPACES[request.param]()

"""Time of every block against a plain operator of the same type, so that a slow block is seen.

    python benchmarks/blocks.py [--quick] [--seed N] [--json FILE]

Every block of the library with its defaults runs on one map (a stem on one image) in evaluation mode, beside the plain
operator for its kind, of the same type: a 3x3 convolution for a block. All take turns in every round, in a new order; the time
of a module is its least over all rounds. The first table is sorted by the time of one multiply-add over that of the
plain operator: 1 is as fast for its size, 10 spends ten times as long on the same arithmetic. Many small operators and
those bound by memory stand on top by nature; compare a block with its like before calling it slow.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from _common import Figures, Run, main
from torch import nn

from archfront.hw_profiles.cost import count, part_cost
from archfront.space import ShapeError, Spec, registry
from archfront.space.spec import ChannelMixer, Gate, Head, Mixer, Topology, Upsample
from archfront.space.types import Feature, FeatureType, Scores
from archfront.standard import IMAGE, MAP, standard


@dataclass(frozen=True)
class Plain:
    """The usual operator for a kind of block, in words and as a module."""

    words: str
    module: nn.Module
    macs: int


@dataclass(frozen=True)
class Pair:
    """A block on an input type, and the plain operator that it is held against."""

    spec: Spec
    x: Feature
    plain: Plain


def pairs(names: list[str]) -> tuple[list[Pair], dict[str, str]]:
    """The blocks of these names with their plain operators, and why others have none."""
    found, left_out = [], {}
    for name in names:
        try:
            found.append(pair(*standard(registry[name])))
        except ShapeError as error:
            left_out[name] = str(error)
    return found, left_out


def pair(spec: Spec, x: Feature) -> Pair:
    """A block beside its plain operator.

    Raises:
        ShapeError: no plain operator is of its type.
    """
    if isinstance(spec, Topology):
        raise ShapeError("made of other blocks")
    return Pair(spec, x, plain_operator(kind_of(spec), x, spec.output(x)))


def kind_of(spec: Spec) -> type[Spec]:
    """The kind that decides on the plain operator; those of one map to another are all held to a convolution."""
    return next((kind for kind in (Gate, Mixer, ChannelMixer, Upsample, Head) if isinstance(spec, kind)), Spec)


@cache
def plain_operator(kind: type[Spec], x: Feature, y: FeatureType) -> Plain:
    """What a kind is held against, from `x` to `y`.

    Raises:
        ShapeError: it cannot yield `y`.
    """
    words, layers = plain_layers(kind, x, y)
    module = nn.Sequential(*layers).eval()
    with torch.inference_mode():
        if tuple(module(*x.example()).shape[1:]) != y.shapes[0]:
            raise ShapeError(f"no plain operator yields {y} for {x}")
    return Plain(words, module, count(module, x).macs)


def plain_layers(kind: type[Spec], x: Feature, y: FeatureType) -> tuple[str, tuple[nn.Module, ...]]:
    """The plain operator of a kind in words and as layers."""
    c = x.channels
    if kind is Head and isinstance(y, Scores):
        return "mean, linear", (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(c, y.classes))
    if not isinstance(y, Feature):
        raise ShapeError(f"no plain operator yields {y} for {x}")
    if kind is Gate:
        return "batch normalisation", (nn.BatchNorm2d(c),)
    if kind is Mixer:
        return "depthwise 7x7, 1x1", (nn.Conv2d(c, c, 7, padding=3, groups=c), nn.Conv2d(c, c, 1))
    if kind is ChannelMixer:
        return "1x1, GELU, 1x1", (nn.Conv2d(c, 4 * c, 1), nn.GELU(), nn.Conv2d(4 * c, c, 1))
    if kind is Upsample:
        larger = nn.Upsample(scale_factor=y.size[0] // x.size[0])
        return "nearest, 3x3", (larger, nn.Conv2d(c, y.channels, 3, padding=1))
    return "3x3", (nn.Conv2d(c, y.channels, 3, -(-x.size[0] // y.size[0]), padding=1),)


def least_times(modules: Mapping[nn.Module, Feature], rounds: int, rng: random.Random) -> dict[nn.Module, float]:
    """The least milliseconds of one forward pass over all rounds; a visit is one run to warm up and two that count."""
    inputs = {module: x.arguments() for module, x in modules.items()}
    best = dict.fromkeys(modules, float("inf"))
    order = list(modules)
    with torch.inference_mode():
        for _ in range(rounds):
            rng.shuffle(order)
            for module in order:
                best[module] = min(best[module], *visit(module, inputs[module]))
    return best


def visit(module: nn.Module, inputs: tuple[Any, ...]) -> Iterator[float]:
    """Milliseconds of two runs behind one that does not count."""
    module(*inputs)
    for _ in range(2):
        begin = time.perf_counter_ns()
        module(*inputs)
        yield (time.perf_counter_ns() - begin) / 1e6


def measure(run: Run) -> Figures:
    """Times of all blocks, or of every sixth."""
    torch.manual_seed(run.seed)
    names = [n for n, cls in sorted(registry.items()) if cls.__module__.startswith("archfront.space.library.")]
    found, left_out = pairs(names[:: 6 if run.quick else 1])
    built = {each: each.spec.build(each.x).eval() for each in found}
    modules = {module: each.x for each, block in built.items() for module in (block, each.plain.module)}
    rounds = 10 if run.quick else 40
    times = least_times(modules, rounds, random.Random(run.seed))
    rows = [row(each, times[block], times[each.plain.module]) for each, block in built.items()]
    arithmetic = [each for each in rows if each["million MACs"]]
    return {
        "blocks": len(rows),
        "rounds": rounds,
        "map": str(MAP),
        "image": str(IMAGE),
        "by time a multiply-add": sorted(arithmetic, key=lambda each: -each["times a MAC"]),
        "without multiply-adds": [without(each) for each in rows if not each["million MACs"]],
        "left out": [{"block": name, "because": why} for name, why in left_out.items()],
    }


def row(each: Pair, ms: float, plain_ms: float) -> dict[str, Any]:
    """One line of the table: a block, its plain operator, how the times compare."""
    macs = part_cost(each.spec, each.x).macs
    return {
        "block": type(each.spec).__name__,
        "kind": each.spec.kind,
        "million MACs": macs / 1e6,
        "ms": ms,
        "against": each.plain.words,
        "its million MACs": each.plain.macs / 1e6,
        "its ms": plain_ms,
        "times as long": ms / plain_ms,
        "times a MAC": ms / plain_ms * each.plain.macs / macs if macs else None,
    }


def without(found: dict[str, Any]) -> dict[str, Any]:
    """A line of the table of those that only move or compare numbers."""
    return {name: found[name] for name in ("block", "kind", "ms", "against", "its ms", "times as long")}


if __name__ == "__main__":
    main("blocks", "every block against a plain operator of the same type: slow ones are seen", measure)

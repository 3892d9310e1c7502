"""Peak activation memory of small modules by hand, and of random programs by walking through them."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archfront.hw_profiles.cost import count
from archfront.space.types import Feature, Image, Pyramid, Tokens

torch.set_num_threads(1)

X = Image(2, 4, 4)
MAP = 4 * 2 * 4 * 4
"""Bytes of a map like X."""


class Do(nn.Module):
    """A module that calls a function."""

    def __init__(self, function: Callable[..., object]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: Tensor) -> object:
        return self.function(*inputs)


def peak(function: Callable[..., object]) -> int:
    return count(Do(function), X).peak_bytes


@pytest.mark.parametrize(
    ("function", "maps"),
    [
        (lambda x: x, 1),
        (lambda x: x.exp(), 2),
        (lambda x: x.exp().sin().cos(), 2),  # a chain holds two maps at a time
        (lambda x: x + x.exp().sin(), 3),  # the shortcut waits while sin runs
        (lambda x: x.exp().sin() + x.cos(), 3),
        (lambda x: torch.cat([x, x], 1), 3),
        (lambda x: x.relu_(), 1),  # in place, because the module says so
        (lambda x: x.exp().relu_().add_(1), 2),
        (lambda x: x.exp().view(1, 32).view(1, 2, 4, 4).transpose(1, 2).reshape(1, 32), 2),  # views are free
        (lambda x: x.expand(8, 2, 4, 4).transpose(0, 1), 1),
        (lambda x: F.dropout(x, 0.5, training=False).exp(), 2),
        (
            lambda x: torch.cat([part.exp() for part in x.chunk(2, 1)], 1),
            2,
        ),  # x and both halves; then these and the result
        (lambda x: (x.exp(), x.sin(), x.cos()), 4),  # outputs live to the end
        (lambda x: x.exp() * x.shape[0] * x.shape[1], 2),  # sizes are no memory
        (lambda x: x.exp().sum() * x.sin().sum(), 2),  # nor are single numbers
        (lambda x: F.max_pool2d(x, 2), 1.25),  # nor indices that nobody asked for
    ],
)
def test_the_peak_is_what_a_person_counts(function: Callable[[Tensor], object], maps: float) -> None:
    assert peak(function) == maps * MAP


def test_weights_and_buffers_are_not_activations() -> None:
    assert count(nn.Conv2d(2, 3, 3, padding=1), X).peak_bytes == MAP * 5 // 2
    assert count(nn.BatchNorm2d(2), X).peak_bytes == 2 * MAP


def test_integers_are_counted_at_their_own_width() -> None:
    assert peak(lambda x: x.topk(1, dim=-1)[1]) == MAP + MAP // 4 + 2 * MAP // 4


def test_attention_holds_its_scores_fused_or_not() -> None:
    def fused(x: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(x, x, x)

    def written(x: Tensor) -> Tensor:
        return (x @ x.transpose(-1, -2)).softmax(-1) @ x

    length, width = 64, 4
    rows, scores = 4 * length * width, 4 * length * length
    for function in (fused, written):
        assert count(Do(function), Tokens(length, width)).peak_bytes == rows + 2 * scores


def test_all_inputs_are_alive_at_the_start() -> None:
    pyramid = Pyramid((Feature(2, (4, 4)), Feature(2, (2, 2))))
    joined = Do(lambda levels: levels[0].exp() + F.interpolate(levels[1].sin(), scale_factor=2))
    assert count(joined, pyramid).peak_bytes == 3 * MAP  # exp, the enlarged map, and their sum


class Program(nn.Module):
    """A random program: every line reads one or two earlier values; the values that nobody reads are the result."""

    def __init__(self, seed: int, lines: int) -> None:
        super().__init__()
        rng = random.Random(seed)
        self.reads = [(rng.randrange(i), rng.randrange(i)) for i in range(1, lines + 1)]
        self.results = set(range(lines + 1)) - {value for reads in self.reads for value in reads}

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        values = [x]
        for a, b in self.reads:
            values.append(values[a].exp() if a == b else values[a] * values[b])
        return tuple(values[i] for i in self.results)

    def peak(self) -> int:
        """The peak in maps: at every line, the values that exist and that this or a later line or the caller reads."""
        alive = []
        for line in range(len(self.reads)):
            wanted = {value for reads in self.reads[line:] for value in reads} | self.results
            alive.append(1 + sum(value <= line for value in wanted))
        return max(alive)


@pytest.mark.parametrize("seed", range(20))
def test_the_peak_of_a_random_program_is_found_by_walking_through_it(seed: int) -> None:
    program = Program(seed, 12)
    assert count(program, X).peak_bytes == program.peak() * MAP


def test_what_nobody_reads_is_never_computed() -> None:
    def wasteful(x: Tensor) -> Tensor:
        x.repeat(1, 9, 1, 1).exp()
        return x.sin()

    assert peak(wasteful) == 2 * MAP

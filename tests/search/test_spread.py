"""Architectures for an audit: distinct, within the budget, even over cost or within a band of it."""

from __future__ import annotations

import itertools
import math
import random

import numpy as np
import pytest

from archfront.hw_profiles.cost import cost
from archfront.search.spread import spread_over_cost, within_band
from archfront.space import Network, Space, Stage, int_range, one_of
from archfront.space.errors import ArchfrontError
from archfront.space.library.block.mbconv import MBConv
from archfront.space.library.head.classifier import Classifier
from archfront.space.library.stem.convolution import ConvStem
from archfront.space.limits import Bounds
from archfront.space.types import Image


@pytest.fixture(scope="module")
def space() -> Space:
    """A few thousand architectures whose costs differ thirty times."""
    block = MBConv(kernel=one_of(3, 5), expand=one_of(1.0, 2.0, 4.0))
    return Space(
        Image(1, 8, 8),
        Network(
            stem=ConvStem(width=8, stride=1),
            stages=(
                Stage(width=one_of(8, 16, 24), depth=int_range(1, 3), block=block),
                Stage(width=one_of(16, 32), stride=2, block=block),
            ),
            head=Classifier(classes=4),
        ),
    )


def test_the_spread_divides_the_whole_range_about_evenly(space: Space) -> None:
    found = spread_over_cost(space, 12)
    assert len(set(found)) == 12
    macs = [cost(a).macs for a in found]
    every = [cost(a).macs for a in space]
    assert macs == sorted(macs)
    span = math.log(max(every) / min(every))
    assert math.log(macs[-1] / macs[0]) > 0.85 * span
    steps = [math.log(b / a) for a, b in itertools.pairwise(macs)]
    assert max(steps) < 2.5 * span / 11


def test_without_leaning_large_widths_are_as_often_shallow(space: Space) -> None:
    def together(leaning: bool) -> float:
        """The correlation between width and depth of the first stage over a spread."""
        choices = [space.choices(a) for a in spread_over_cost(space, 60, leaning=leaning)]
        pairs = [(float(c["stages[0].width"]), float(c["stages[0].depth"])) for c in choices]  # type: ignore[arg-type]
        return float(np.corrcoef(np.array(pairs).T)[0, 1])

    drawn = {space.sample(rng, over="sites") for rng in [random.Random(0)] for _ in range(60 * 40)}
    assert set(spread_over_cost(space, 60, leaning=False)) <= drawn
    assert together(leaning=False) < together(leaning=True) - 0.1


def test_the_same_seed_draws_the_same(space: Space) -> None:
    assert spread_over_cost(space, 6, seed=3) == spread_over_cost(space, 6, seed=3)
    assert spread_over_cost(space, 6, seed=3) != spread_over_cost(space, 6, seed=4)
    assert within_band(space, 4, 0.2, seed=3) == within_band(space, 4, 0.2, seed=3)


def test_bounds_and_what_is_not_accepted_are_kept_out(space: Space) -> None:
    limit = float(np.median([cost(space.sample(seed)).params for seed in range(50)]))
    bounds = Bounds(
        lambda spec, x: (float(sum(p.numel() for p in spec.build(x).parameters())),),
        np.array([-np.inf]),
        np.array([limit]),
    )
    found = spread_over_cost(space, 6, bounds=bounds, accepts=lambda a: cost(a).macs > 60_000)
    assert all(cost(a).params <= limit and cost(a).macs > 60_000 for a in found)


def test_a_band_is_as_narrow_as_it_says(space: Space) -> None:
    found = within_band(space, 8, 0.1)
    macs = [cost(a).macs for a in found]
    assert len(set(found)) == 8
    assert max(macs) / min(macs) <= 1.1 / 0.9


def test_too_few_architectures_are_an_error_that_says_how_many(space: Space) -> None:
    with pytest.raises(ArchfrontError, match=r"architectures of the space within the budget were found, 5 wanted"):
        spread_over_cost(space, 5, accepts=lambda a: cost(a).macs < 20_000)
    with pytest.raises(ArchfrontError, match="ask for fewer, or a wider band"):
        within_band(space, 40, 1e-6)

"""Spaces, held against brute force that lists every combination."""

from __future__ import annotations

import json
import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from archfront.space import (
    Architecture,
    Block,
    Feature,
    Image,
    Network,
    Positive,
    ShapeError,
    Space,
    SpaceError,
    Stage,
    int_range,
    mapping_pick,
    one_of,
    random_pick,
    shared,
    tied,
    trial_pick,
)
from archfront.space.limits import Bounds

from .brute import architectures
from .conftest import SPACES, TinyConv, TinyGate, TinyHead, TinyHeads, TinyStem, small

MADE = {name: make() for name, make in SPACES.items()}
some_space = st.sampled_from(sorted(MADE)).map(MADE.__getitem__)
seeds = st.integers(0, 2**32)


def test_size_and_enumeration_equal_brute_force(space: Space) -> None:
    expected = architectures(space)
    listed = list(space)
    assert space.size == len(expected) == len(listed)
    assert set(listed) == expected


def test_parts_of_the_space_are_the_parts_of_its_architectures(space: Space) -> None:
    assert set(space.parts()) == {part for architecture in architectures(space) for part in architecture.parts}


def test_every_architecture_is_sampled_equally_often() -> None:
    space = MADE["constrained"]
    rng = random.Random(0)
    draws = 60 * space.size
    counts = Counter(space.sample(rng) for _ in range(draws))
    assert len(counts) == space.size
    # chi-squared with size - 1 degrees of freedom: mean size - 1, deviation sqrt(2 (size - 1))
    statistic = sum((n - 60) ** 2 / 60 for n in counts.values())
    assert abs(statistic - (space.size - 1)) < 5 * (2 * (space.size - 1)) ** 0.5


def test_sampling_over_sites_reaches_every_depth_equally_often() -> None:
    space = MADE["conditional"]
    rng = random.Random(0)
    depths = Counter(len(space.sample(rng, over="sites").network.stages[0].blocks) for _ in range(3000))
    assert all(900 < depths[depth] < 1100 for depth in (1, 2, 3))


@settings(max_examples=60, deadline=None)
@given(some_space, seeds)
def test_a_sample_is_a_member_and_its_choices_lead_back_to_it(space: Space, seed: int) -> None:
    architecture = space.sample(seed)
    assert architecture in space
    assert space.resolve(mapping_pick(space.choices(architecture))) == architecture
    assert space.resolve(mapping_pick(json.loads(json.dumps(space.choices(architecture))))) == architecture
    assert Architecture(space.input, architecture.network).output == architecture.output


@settings(max_examples=60, deadline=None)
@given(some_space, seeds)
def test_files_keep_spaces_and_architectures(space: Space, seed: int) -> None:
    architecture = space.sample(seed)
    again = Architecture.from_dict(json.loads(json.dumps(architecture.to_dict())))
    assert again == architecture
    assert again.digest == architecture.digest
    assert Space.from_dict(json.loads(json.dumps(space.to_dict()))) == space


@pytest.mark.parametrize("ratio", [one_of(1, 2), int_range(1, 2), shared(one_of(1, 2)), tied("ratio", one_of(1, 2)), 2])
def test_whole_numbers_in_a_field_of_fractions_are_kept_by_files(ratio: float) -> None:
    space = small(Stage(width=4, depth=2, block=TinyConv(gate=TinyGate(ratio=ratio))))
    again = Space.from_dict(json.loads(json.dumps(space.to_dict())))
    assert again == space
    for architecture in space:
        read = Architecture.from_dict(json.loads(json.dumps(architecture.to_dict())))
        assert read.digest == architecture.digest
        assert read in space and read in again
        assert space.choices(read) == space.choices(architecture)
        whole = {site: int(choice) for site, choice in space.choices(architecture).items()}
        assert space.resolve(mapping_pick(whole)) == architecture


@settings(max_examples=40, deadline=None)
@given(some_space, seeds)
def test_mutants_and_children_are_members(space: Space, seed: int) -> None:
    rng = random.Random(seed)
    a, b = space.sample(rng), space.sample(rng)
    mutant, child = space.mutate(a, rng), space.crossover(a, b, rng)
    assert mutant in space
    assert mutant != a
    assert child in space
    assert space.crossover(a, a, rng) == a


def test_neighbours_are_the_architectures_at_one_changed_site() -> None:
    space = MADE["plain"]
    start = next(a for a in space if len(a.network.stages[0].blocks) == 2)
    picks = space.assignment(start)
    expected = set()
    for other in space:
        theirs = space.assignment(other)
        if sum(picks[s] != theirs[s] for s in picks.keys() & theirs.keys()) == 1:
            expected.add(other)
    # a shorter stage keeps the choices at the positions that stay
    expected = {o for o in expected if space.assignment(o).keys() <= picks.keys()}
    assert set(space.neighbours(start)) == expected


@settings(max_examples=60, deadline=None)
@given(some_space, seeds, seeds)
def test_encodings_have_one_length_and_tell_architectures_apart(space: Space, one: int, two: int) -> None:
    a, b = space.sample(one), space.sample(two)
    assert space.encode(a).shape == (len(space.columns),)
    assert np.array_equal(space.encode(a), space.encode(b)) == (a == b)


def test_four_pickers_describe_architectures() -> None:
    import optuna

    space = MADE["constrained"]
    assert space.resolve(random_pick(1)) in space
    assert space.resolve(mapping_pick(space.choices(space.sample(3)))) == space.sample(3)
    assert space.resolve(lambda site, domain: domain.options[0]) in space
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(30):
        assert space.resolve(trial_pick(space, study.ask())) in space


def test_a_picker_sees_only_options_that_can_be_built() -> None:
    space = small(Stage(width=one_of(4, 9), block=TinyHeads(heads=one_of(2, 3, 4))))
    offered = {}

    def pick(site: str, domain: object) -> object:
        offered[site] = domain.options  # type: ignore[attr-defined]
        return domain.options[-1]  # type: ignore[attr-defined]

    space.resolve(pick)
    assert offered["stages[0].blocks[0].heads"] == (3,)


def test_an_impossible_pick_names_site_value_and_what_is_possible() -> None:
    space = small(Stage(width=4, block=TinyHeads(heads=one_of(1, 2, 3))))
    with pytest.raises(SpaceError, match=r"stages\[0\]\.blocks\[0\]\.heads: 3 is not possible here; possible: 1, 2"):
        space.resolve(mapping_pick({"stages[0].blocks[0].heads": 3}))


def test_bounds_on_one_sum_are_kept_by_construction() -> None:
    space = MADE["constrained"]

    def cost(spec: object, x: object) -> tuple[float]:
        return (float(sum(p.numel() for p in spec.build(x).parameters())),)  # type: ignore[attr-defined]

    totals = {a: sum(cost(p.spec, p.input)[0] for p in a.parts) for a in space}
    low, high = space.graph.root.extremes(cost, 1)
    assert (low[0], high[0]) == (min(totals.values()), max(totals.values()))
    limit = sorted(totals.values())[2]
    inside = {a for a, total in totals.items() if total <= limit}
    bounds = Bounds(cost, np.array([-np.inf]), np.array([limit]))
    rng = random.Random(0)
    assert {space.sample(rng, bounds=bounds) for _ in range(300)} == inside
    top = Bounds(cost, high, np.array([np.inf]))
    assert totals[space.sample(rng, bounds=top)] == high[0]


def test_two_spellings_of_one_architecture_are_one() -> None:
    def network(stage: Stage) -> Architecture:
        return Architecture(Image(3, 8, 8), Network(stem=TinyStem(width=4), stages=(stage,), head=TinyHead(classes=2)))

    a = network(Stage(width=4, depth=2, block=TinyConv(kernel=3)))
    b = network(Stage(width=4, stride=1, blocks=(TinyConv(), TinyConv(gate=None))))
    assert a == b
    assert hash(a) == hash(b)
    assert a.digest == b.digest


def test_a_digest_is_the_same_in_every_process() -> None:
    a = MADE["plain"].sample(0)
    text = json.dumps(a.to_dict(), sort_keys=True, separators=(",", ":"))
    import hashlib

    assert a.digest == hashlib.sha256(text.encode()).hexdigest()[:16]


def test_a_huge_space_is_counted_exactly() -> None:
    stage = Stage(width=4, depth=int_range(1, 4), block=TinyConv(kernel=one_of(1, 3, 5), gate=one_of(None, TinyGate())))
    space = small(*[stage] * 10)
    assert space.size == (6 + 6**2 + 6**3 + 6**4) ** 10
    assert space.sample(0) in space


def test_a_block_with_too_many_options_to_list_is_still_counted_and_sampled() -> None:
    many = one_of(*range(1, 1001, 2))
    options = one_of(*(TinyGate(ratio=r / 7) for r in range(1, 301)))
    space = small(Stage(width=4, block=TinyConv(kernel=many, gate=options)))
    assert space.size == 500 * 300
    assert space.sample(0) in space
    assert space.sample(0, over="sites") in space


class TinyRare(Block):
    """Cannot be built with two of its 128,000 ways to be chosen."""

    a: Positive = 1
    b: Positive = 1
    c: Positive = 1

    def output(self, x: Feature) -> Feature:
        if (self.a, self.b) == (1, 1) and self.c < 3:
            raise ShapeError("c is 3 or more where a and b are 1")
        return x

    def build(self, x: Feature) -> nn.Module:
        return nn.Identity()


def test_a_choice_that_cannot_be_built_among_too_many_to_list_is_an_error_of_the_space() -> None:
    block = TinyRare(a=int_range(1, 40), b=int_range(1, 40), c=int_range(1, 80))
    space = small(Stage(width=4, block=block))
    with pytest.raises(SpaceError, match=r"TinyRare has 128,000 options, too many to list, and some cannot be built"):
        space.resolve(lambda site, domain: domain.options[0])
    bounds = Bounds(lambda spec, x: (0.0,), np.array([-np.inf]), np.array([1.0]))
    firsts = iter([0] * 3 + [39] * 300)  # turns back once
    found = space.at(space.graph.walk(lambda site, domain, options: next(firsts), space._domains, bounds))
    assert found in space


@pytest.mark.parametrize("depth", [one_of(2), int_range(2, 2)])
def test_a_depth_with_one_option_is_a_depth(depth: int) -> None:
    def network(depth: int) -> Network:
        stage = Stage(width=one_of(4, 8), depth=depth, block=TinyConv(kernel=one_of(1, 3)))
        return Network(stem=TinyStem(width=4), stages=(stage,), head=TinyHead(classes=2))

    image = Image(3, 8, 8)
    space, plain = Space(image, network(depth)), Space(image, network(2))
    assert set(space) == set(plain) and space.sample(0) in plain
    assert list(space.sites) == list(plain.sites)


def test_predicates_restrict_size_samples_and_membership() -> None:
    network = MADE["plain"].network

    def odd_depth(a: Architecture) -> bool:
        return len(a.network.stages[0].blocks) == 1  # type: ignore[attr-defined]

    space = Space(Image(3, 8, 8), network, where=odd_depth)
    assert space.size == sum(1 for a in MADE["plain"] if odd_depth(a)) > 0
    assert all(odd_depth(space.sample(seed)) for seed in range(20))
    assert next(a for a in MADE["plain"] if not odd_depth(a)) not in space
    with pytest.raises(SpaceError, match="predicates"):
        space.to_dict()


def test_predicates_that_nothing_meets_end_in_an_error_not_a_loop() -> None:
    space = Space(Image(3, 8, 8), MADE["plain"].network, where=lambda a: False)
    with pytest.raises(SpaceError, match="refused 10,000"):
        space.sample(0)


def test_an_unbuildable_space_says_why() -> None:
    with pytest.raises(SpaceError, match="5 heads do not divide 4 channels"):
        small(Stage(width=4, block=TinyHeads(heads=one_of(5, 7))))


def test_ties_are_checked() -> None:
    with pytest.raises(SpaceError, match="circular"):
        tied("a", one_of(TinyConv(kernel=tied("a", one_of(1, 3)))))
    with pytest.raises(SpaceError, match="two different domains"):
        _ = small(
            Stage(width=tied("w", one_of(4, 6)), block=TinyConv()),
            Stage(width=tied("w", one_of(4, 8)), block=TinyConv()),
        ).sites


def test_shared_choices_are_equal_at_every_position() -> None:
    space = small(Stage(width=4, depth=3, block=TinyConv(kernel=shared(one_of(1, 3)), gate=one_of(None, TinyGate()))))
    for seed in range(20):
        blocks = space.sample(seed).network.stages[0].blocks  # type: ignore[attr-defined]
        assert len({block.kernel for block in blocks}) == 1
    assert space.size == 2 * 2**3


def test_the_tree_shows_every_choice() -> None:
    text = str(MADE["constrained"])
    for piece in (
        "input: 3x8x8",
        "one_of(4, 6, 9)",
        "× int_range(1, 2): one of",
        "TinyHeads(heads=one_of(1, 2, 3, 4))",
    ):
        assert piece in text

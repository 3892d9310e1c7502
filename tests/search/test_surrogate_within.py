"""Candidates of the surrogate that are architectures of a space: inside the budget, new, near their parents."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from archfront.hw_profiles.cost import cost, part_cost
from archfront.search.budget import Budget
from archfront.search.feasible import Region
from archfront.search.surrogate.within import Within
from archfront.space import Architecture, Image, Network, Space, Stage, int_range, one_of
from archfront.space.library.block.mbconv import MBConv
from archfront.space.library.head.classifier import Classifier
from archfront.space.library.stem.convolution import ConvStem


def space(where: Callable[[Architecture], bool] | tuple[()] = ()) -> Space:
    """Widths, a depth that opens sites, and kernels: 2 x (4 + 16 + 64 + 256) architectures."""
    block = MBConv(kernel=one_of(3, 5), expand=one_of(2, 4))
    stage = Stage(width=one_of(8, 12), depth=int_range(1, 4), block=block)
    return Space(
        Image(3, 8, 8), Network(stem=ConvStem(width=8), stages=(stage,), head=Classifier(classes=2)), where=where
    )


def known(architecture: Architecture) -> dict[str, float]:
    return {name: found.value for name, found in cost(architecture).measurements().items()}


def source(searched: Space, budget: str) -> Within:
    region = Region(
        searched, Budget.parse(budget), ("params",), lambda s, x: (part_cost(s, x).params,), {}, known, str
    )  # fmt: skip
    return Within(searched, region, ("accuracy", "macs"), known)


def median_params(searched: Space) -> float:
    return float(np.median([known(architecture)["params"] for architecture in searched]))


def parents(searched: Space, bound: float, count: int = 3) -> list[Architecture]:
    inside = [architecture for architecture in searched if known(architecture)["params"] <= bound]
    return [inside[i] for i in np.random.default_rng(0).permutation(len(inside))[:count]]


def test_candidates_keep_the_budget_are_new_and_differ_from_each_other() -> None:
    searched = space()
    bound = median_params(searched)
    near = [searched.choices(architecture) for architecture in parents(searched, bound)]
    found = source(searched, f"params<={bound:.0f}")(near, np.random.default_rng(1))
    made = [searched.resolve(lambda site, _, c=c: c.params[site]) for c in found]
    assert len(set(made)) == len(found) > 30
    assert all(known(architecture)["params"] <= bound for architecture in made)
    assert all(candidate.params not in near for candidate in found)


def test_a_local_move_differs_from_a_parent_at_one_site_or_where_the_budget_and_new_sites_ask_for_it() -> None:
    searched = space()
    parent = searched.choices(parents(searched, math.inf, 1)[0])
    found = source(searched, "")([parent], np.random.default_rng(0))
    moves = [c.params for c in found if c.origin == "local move"]
    kept = [{site for site in parent if site in move and move[site] != parent[site]} for move in moves]
    assert len(moves) > 5
    assert max(map(len, kept)) == 1
    assert {c.origin for c in found} >= {"local move", "two moves", "random"}


def test_what_costs_nothing_to_know_is_told_with_every_candidate() -> None:
    searched = space()
    within = source(searched, "")
    for candidate in within([searched.choices(searched.sample(0))], np.random.default_rng(0)):
        figures = known(searched.resolve(lambda site, _, c=candidate: c.params[site]))
        assert math.isnan(candidate.known[0])
        assert candidate.known[1] == figures["macs"]
        assert candidate.costs == tuple(math.log(figures[name]) for name in sorted(figures))
        assert within.costs(candidate.params) == candidate.costs


def test_predicates_of_the_space_are_kept() -> None:
    searched = space(where=lambda architecture: len(architecture.parts) % 2 == 0)
    found = source(searched, "")([searched.choices(searched.sample(0))], np.random.default_rng(0))
    made = [searched.resolve(lambda site, _, c=c: c.params[site]) for c in found]
    assert made
    assert all(len(architecture.parts) % 2 == 0 for architecture in made)

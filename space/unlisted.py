"""Parts with too many options to list one by one: their picks are drawn, asked for or varied site by site."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from .domains import Domain
from .errors import ShapeError, SpaceError
from .nodes import State, Task
from .resolve import Assignment, Place, raw_size, resolve
from .spec import Spec
from .types import FeatureType

Choose = Callable[[str, Domain, Sequence[int]], int]
"""Chooses among the feasible options (indices) of a site."""


def output_of(spec: Spec, x: FeatureType | None) -> FeatureType | None:
    """What a spec yields; None where it cannot be built."""
    try:
        return spec.output(x)
    except ShapeError:
        return None


def only_output(spec: Spec, x: FeatureType | None, place: Place, probes: int = 300) -> FeatureType:
    """The one type that a part with too many options to list yields; probed on random options."""
    rng = random.Random(0)
    found: set[FeatureType] = set()
    for _ in range(probes):
        picks: Assignment = {}
        sample_unlisted(State((Task(place, spec),), x), spec, picks, rng, tries=1)
        known = dict(picks)
        found.add(resolve(spec, lambda site, _: known[site], place).output(x))  # noqa: B023
    if len(found) != 1:
        raise SpaceError(
            f"{place.path}: {type(spec).__name__} has {raw_size(spec):,} options, too many to list, and yields different "
            f"types ({', '.join(map(str, found))}); move the choice that changes the type out of it"
        )
    return found.pop()


def sample_unlisted(state: State, spec: Spec, picks: Assignment, rng: random.Random, tries: int = 1000) -> None:
    """Random picks for a part whose options are too many to list, as often as it takes to find one that can be built."""
    place, shared = state.tasks[0].place, dict(state.shared)
    for _ in range(tries):
        new = dict(shared)

        def pick(site: str, domain: Domain) -> int:
            if site not in new:  # noqa: B023
                sizes = [raw_size(option) for option in domain.options]
                new[site] = rng.choices(range(len(sizes)), weights=[float(n) for n in sizes])[0]  # noqa: B023
            return new[site]  # noqa: B023

        if output_of(resolve(spec, pick, place), state.x) is not None:
            picks.update(new)
            return
    raise unbuildable(state, spec)


def unbuildable(state: State, spec: Spec) -> SpaceError:
    """What is wrong with a part of which some options, too many to list, cannot be built."""
    return SpaceError(
        f"{state.tasks[0].place.path}: {type(spec).__name__} has {raw_size(spec):,} options, too many to list, and some "
        f"cannot be built on {state.x}; narrow its choices to those that fit"
    )


def walk_unlisted(
    state: State, part: Spec, picks: Assignment, choose: Choose, domains: dict[str, Domain]
) -> Spec | None:
    """The part that `choose` makes site by site, None where it cannot be built; its picks are added to `picks`."""

    def pick(site: str, domain: Domain) -> int:
        if site not in picks:
            picks[site] = choose(site, domains[site], range(len(domain.options)))
        return picks[site]

    concrete: Spec = resolve(part, pick, state.tasks[0].place)
    return concrete if output_of(concrete, state.x) is not None else None


def extreme_options(spec: Spec, state: State) -> list[Spec]:
    """The last option everywhere, and every change of it at one site, of a part with too many options to list."""
    place, shared = state.tasks[0].place, dict(state.shared)
    found: dict[Spec, None] = {}

    def explore(wanted: Assignment) -> Assignment:
        sizes: Assignment = {}

        def pick(site: str, domain: Domain) -> int:
            sizes[site] = len(domain.options)
            return shared.get(site, wanted.get(site, len(domain.options) - 1))

        concrete = resolve(spec, pick, place)
        if output_of(concrete, state.x) is not None:
            found[concrete] = None
        return sizes

    pending: list[Assignment] = [{}]
    known: set[str] = set()
    while pending:
        wanted = pending.pop()
        for site, size in explore(wanted).items():
            if site not in known:
                known.add(site)
                pending += [{**wanted, site: index} for index in range(size)]
    return list(found)

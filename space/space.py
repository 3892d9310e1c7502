"""Spaces: networks with choices in place of values."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .architecture import Architecture
from .domains import Domain
from .errors import ShapeError, SpaceError, SpecError
from .limits import Bounds
from .network import Part
from .resolve import Assignment, match, resolve, unique_sites
from .serial import SCHEMA, check_schema, decode, encode, read
from .spec import Spec
from .tree import tree
from .types import FeatureType
from .walk import Graph

Pick = Callable[[str, Domain], Any]
"""The one sampling interface: `pick(site, domain) -> value`, a value out of `domain.options`."""

Predicate = Callable[[Architecture], bool]

TRIES = 10_000
"""Random architectures that are tried against predicates and joint bounds before giving up."""

ENUMERABLE = 200_000
"""Size up to which a space with predicates is enumerated to count it."""


@dataclass(frozen=True)
class Site:
    """The place of one domain, named by its path."""

    path: str
    domain: Domain


@dataclass(frozen=True)
class Space:
    """All architectures that a network with choices stands for, fed one input type.

    Args:
        input: the input type, such as `Image(3, 32, 32)`.
        network: a spec with domains (`one_of`, `int_range`, `shared`, `tied`) in place of some values.
        where: predicates that every architecture of the space must satisfy.

    Raises:
        SpaceError: nothing in the space can be built, or a tie is contradictory.
    """

    input: FeatureType
    network: Spec
    where: Predicate | Sequence[Predicate] = ()

    def __getstate__(self) -> dict[str, Any]:
        """Without what can be derived again."""
        return {"input": self.input, "network": self.network, "where": self.where}

    def __post_init__(self) -> None:
        where = (self.where,) if callable(self.where) else tuple(self.where)
        object.__setattr__(self, "where", where)
        if not self.graph.root.size:
            raise SpaceError(f"nothing in the space can be built: {self._first_problem()}")

    def _first_problem(self) -> str:
        try:
            resolve(self.network, lambda site, domain: 0).output(self.input)
        except ShapeError as error:
            return str(error)
        return "every combination of its choices breaks a shape constraint"

    @cached_property
    def graph(self) -> Graph:
        """The graph of partial architectures."""
        return Graph(self.network, self.input)

    @cached_property
    def sites(self) -> dict[str, Site]:
        """Every site by path, in order, those included that are active only under some choices."""
        return {path: Site(path, domain) for path, domain in unique_sites(self.network).items()}

    @cached_property
    def _domains(self) -> dict[str, Domain]:
        return {path: site.domain for path, site in self.sites.items()}

    # ------------------------------------------------------------------ size and membership

    @cached_property
    def size(self) -> int:
        """The exact number of architectures; one that two options of a site give counts twice.

        Raises:
            SpaceError: there are predicates, and more architectures than can be enumerated.
        """
        unconditional = self.graph.root.size
        if not self.where:
            return unconditional
        if unconditional > ENUMERABLE:
            raise SpaceError(
                f"a space with predicates is counted by enumeration, up to {ENUMERABLE:,} architectures; without them "
                f"this one has {unconditional:,}"
            )
        return sum(1 for _ in self)

    def __iter__(self) -> Iterator[Architecture]:
        """Every architecture, in lexicographic order of the choices. Meant for small spaces."""
        return self.within(None)

    def within(self, bounds: Bounds | None) -> Iterator[Architecture]:
        """Every architecture that keeps the bounds, in lexicographic order of the choices.

        Only ways that reach the end are followed, so a few architectures out of 10^18 are found at once.

        Raises:
            SpaceError: a part has too many options to list.
        """
        for picks in self.graph.every(bounds):
            architecture = self.at(picks)
            if self._accepts(architecture):
                yield architecture

    def __contains__(self, architecture: object) -> bool:
        if not isinstance(architecture, Architecture) or architecture.input != self.input:
            return False
        return match(self.network, architecture.network) is not None and self._accepts(architecture)

    def _accepts(self, architecture: Architecture) -> bool:
        return all(predicate(architecture) for predicate in self.where)  # type: ignore[union-attr]

    # ------------------------------------------------------------------ picking

    def at(self, picks: Assignment) -> Architecture:
        """The architecture with these option indices, one for every active site, as a walk of the graph gives them."""
        return Architecture.known_good(self.input, resolve(self.network, lambda site, domain: picks[site]))

    def resolve(self, pick: Pick, bounds: Bounds | None = None) -> Architecture:
        """The architecture that `pick(site, domain) -> value` describes, asked site by site in order.

        `pick` sees a domain only with the options that can still be built; it may answer with a value or its label.

        Raises:
            SpaceError: the answer is not among them, or breaks a predicate.
        """

        def choose(site: str, domain: Domain, feasible: Sequence[int]) -> int:
            offered = domain if len(feasible) == len(domain.options) else Subset(domain, tuple(feasible))
            value = pick(site, offered)
            for index in feasible:
                if value is domain.options[index] or _same(value, domain.options[index], domain.labels[index]):
                    return index
            choices = ", ".join(repr(domain.labels[i]) for i in feasible)
            raise SpaceError(f"{site}: {value!r} is not possible here; possible: {choices}")

        architecture = self.at(self.graph.walk(choose, self._domains, bounds))
        if not self._accepts(architecture):
            raise SpaceError("this architecture breaks a predicate of the space (where=...)")
        return architecture

    def assignment(self, architecture: Architecture) -> Assignment:
        """The option index at every active site of an architecture of this space."""
        picks = match(self.network, architecture.network) if architecture.input == self.input else None
        if picks is None:
            raise SpaceError(f"architecture {architecture.digest} is not in this space")
        return picks

    def choices(self, architecture: Architecture) -> dict[str, Any]:
        """The label of the choice made at every active site: plain values, readable and comparable."""
        return {site: self._domains[site].labels[index] for site, index in self.assignment(architecture).items()}

    # ------------------------------------------------------------------ sampling

    def sample(
        self,
        seed: int | random.Random = 0,
        over: Literal["architectures", "sites"] = "architectures",
        bounds: Bounds | None = None,
    ) -> Architecture:
        """A random architecture.

        Args:
            seed: a seed, or a generator that is advanced.
            over: "architectures": each is equally likely; "sites": each option of a site is, as it is reached (deep and
                shallow networks come equally often, whatever the numbers of choices in them).
            bounds: additive costs to stay within; sampling is then over sites.
        """
        rng = seed if isinstance(seed, random.Random) else random.Random(seed)
        for _ in range(TRIES):
            if bounds is None and over == "architectures":
                picks = self.graph.sample(rng)
            else:
                picks = self.graph.walk(lambda site, domain, options: rng.choice(options), self._domains, bounds)
            architecture = self.at(picks)
            if self._accepts(architecture):
                return architecture
        raise SpaceError(f"its predicates (where=...) refused {TRIES:,} random architectures of the space")

    def closest(
        self, wanted: Assignment, bounds: Bounds | None = None, rng: random.Random | None = None
    ) -> Architecture:
        """The architecture that follows `wanted` wherever it can be built, and takes the nearest option elsewhere.

        Sites that `wanted` lacks take a random option of `rng`, or the first possible one.
        """

        def choose(site: str, domain: Domain, feasible: Sequence[int]) -> int:
            if site in wanted:
                return min(feasible, key=lambda index: abs(index - wanted[site]))
            return rng.choice(feasible) if rng else feasible[0]

        return self.at(self.graph.walk(choose, self._domains, bounds))

    def neighbours(self, architecture: Architecture) -> Iterator[Architecture]:
        """Every architecture that takes another option at one site (and, at sites that this opens, the first possible)."""
        picks = self.assignment(architecture)
        seen = {architecture}
        for site, chosen in picks.items():
            for index in range(len(self._domains[site].options)):
                if index == chosen:
                    continue
                changed = self._changed(picks, site, index)
                if changed is not None and changed not in seen and self._accepts(changed):
                    seen.add(changed)
                    yield changed

    def _changed(
        self, picks: Assignment, site: str, index: int, bounds: Bounds | None = None, rng: random.Random | None = None
    ) -> Architecture | None:
        try:
            changed = self.closest({**picks, site: index}, bounds, rng)
        except SpaceError:
            return None
        return changed if match_at(self, changed, site) == index else None

    def mutate(
        self, architecture: Architecture, seed: int | random.Random = 0, sites: int = 1, bounds: Bounds | None = None
    ) -> Architecture:
        """A random architecture that takes other options at up to `sites` of the sites of this one."""
        rng = seed if isinstance(seed, random.Random) else random.Random(seed)
        for _ in range(TRIES):
            picks = self.assignment(architecture)
            wanted = dict(picks)
            for site in rng.sample(list(picks), min(sites, len(picks))):
                wanted[site] = rng.choice([i for i in range(len(self._domains[site].options)) if i != picks[site]])
            mutant = self.closest(wanted, bounds, rng)
            if mutant != architecture and self._accepts(mutant):
                return mutant
        raise SpaceError(f"architecture {architecture.digest} has no neighbour in this space")

    def crossover(
        self, a: Architecture, b: Architecture, seed: int | random.Random = 0, bounds: Bounds | None = None
    ) -> Architecture:
        """A random architecture that takes every choice from one of two parents."""
        rng = seed if isinstance(seed, random.Random) else random.Random(seed)
        first, second = self.assignment(a), self.assignment(b)
        for _ in range(TRIES):
            wanted = {
                site: (first if site not in second or (site in first and rng.random() < 0.5) else second)[site]
                for site in {**first, **second}
            }
            child = self.closest(wanted, bounds, rng)
            if self._accepts(child):
                return child
        raise SpaceError("no child of these two architectures is in the space: its predicates (where=...) refuse them")

    # ------------------------------------------------------------------ other forms

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The names of the numbers that `encode` gives."""
        names: list[str] = []
        for path, domain in self._domains.items():
            names += [path] if domain.ordered else [f"{path}={label}" for label in domain.labels]
        return tuple(names)

    def encode(self, architecture: Architecture) -> NDArray[np.float64]:
        """A vector of fixed length for surrogate models, (len(columns),).

        Ordered sites give their rank scaled to [0, 1]; others one number an option, 1 for the chosen one. Inactive
        sites give -1 (ordered) or 0 everywhere.
        """
        picks = self.assignment(architecture)
        vector: list[float] = []
        for path, domain in self._domains.items():
            index = picks.get(path)
            if domain.ordered:
                vector.append(-1.0 if index is None else index / (len(domain.options) - 1))
            else:
                vector += [float(i == index) for i in range(len(domain.options))]
        return np.array(vector)

    def parts(self) -> Iterator[Part]:
        """Every distinct part (place, spec, input type) that architectures of the space are made of."""
        return self.graph.parts()

    def __str__(self) -> str:
        return tree(self.network, self.input)

    def to_dict(self) -> dict[str, Any]:
        """Plain data that `from_dict` reads back.

        Raises:
            SpaceError: the space has predicates, which are code and cannot be written.
        """
        if self.where:
            raise SpaceError("a space with predicates (where=...) is code: keep it in a Python file")
        return {"schema": SCHEMA, "input": self.input.to_dict(), "network": encode(self.network)}

    @staticmethod
    def from_dict(data: dict[str, Any]) -> Space:
        """The space that `to_dict` wrote."""
        check_schema(data, "space", "input", "network")
        network = decode(data["network"], "network")
        if not isinstance(network, Spec):
            raise SpecError(f"network: expected a spec, got {network!r}")
        return Space(FeatureType.from_dict(data["input"]), network)

    @staticmethod
    def load(path: str | Path) -> Space:
        """Read a space from JSON or YAML."""
        return Space.from_dict(read(path))


class Subset(Domain):
    """Some of the options of a domain, under the same labels."""

    def __init__(self, domain: Domain, feasible: tuple[int, ...]) -> None:
        self.domain = domain
        self.feasible = feasible

    @property
    def options(self) -> tuple[Any, ...]:
        return tuple(self.domain.options[i] for i in self.feasible)

    @property
    def ordered(self) -> bool:
        return self.domain.ordered

    @property
    def labels(self) -> tuple[Any, ...]:
        return tuple(self.domain.labels[i] for i in self.feasible)

    def __repr__(self) -> str:
        return f"one_of({', '.join(map(repr, self.options))})"


def _same(value: Any, option: Any, label: Any) -> bool:
    if type(value) is int and type(option) is float:
        return value == option
    return (type(value) is type(option) and value == option) or (type(value) is type(label) and value == label)


def match_at(space: Space, architecture: Architecture, site: str) -> int | None:
    """The option index that an architecture takes at a site, None where the site is inactive."""
    return space.assignment(architecture).get(site)


# ---------------------------------------------------------------------- pickers


def random_pick(seed: int | random.Random) -> Pick:
    """A picker that takes every option that is possible at a site equally often."""
    rng = seed if isinstance(seed, random.Random) else random.Random(seed)
    return lambda site, domain: rng.choice(domain.options)


def mapping_pick(choices: dict[str, Any]) -> Pick:
    """A picker that reads labels or values from a mapping of sites, such as a JSON file or a Ray Tune configuration.

    Raises:
        SpaceError: a site is asked for that the mapping lacks.
    """

    def pick(site: str, domain: Domain) -> Any:
        if site not in choices:
            raise SpaceError(f"no choice given for {site}; possible: {', '.join(map(repr, domain.labels))}")
        return choices[site]

    return pick


def trial_pick(space: Space, trial: Any) -> Pick:
    """A picker that asks an Optuna trial (anything with `suggest_categorical`).

    The trial always sees the whole domain, so that its distribution never changes; where its answer cannot be built
    the nearest possible option is taken.
    """

    def pick(site: str, domain: Domain) -> Any:
        whole = space.sites[site].domain
        wanted = whole.labels.index(trial.suggest_categorical(site, whole.labels))
        at = {whole.labels.index(label): i for i, label in enumerate(domain.labels)}
        return domain.options[at[min(at, key=lambda index: abs(index - wanted))]]

    return pick

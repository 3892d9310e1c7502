"""Where proposals come from: changes of good candidates, and random ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from .sites import Levels, Params, Sites

Values = NDArray[np.float64]

ORIGIN = "archfront:origin"
"""The user attribute of a trial that says why it was proposed."""

MOVE, RANDOM, START = "local move", "random", "random start"
"""Origins that mean something to the sampler: one choice of a front member changed, every choice drawn, and drawn before
there was anything to learn from."""

STEP = 0.15
"""Standard deviation of a small step along an ordered site, as a share of its levels."""


class Candidate(NamedTuple):
    """One that may be proposed.

    Args:
        params: a value for every site that is active.
        origin: how it came about, such as "random" or "local move".
        known: the objectives that are exact and cheap, in the study's own units and order, NaN for those that have to
            be evaluated; empty where none is known.
        costs: what else is known before it is evaluated; empty where the sampler is to work it out.
    """

    params: dict[str, Any]
    origin: str
    known: tuple[float, ...] = ()
    costs: tuple[float, ...] = ()


class Source(Protocol):
    """Gives candidates that keep every rule of a space, and every bound that is known before evaluating."""

    def __call__(self, parents: Sequence[Params], rng: np.random.Generator) -> Sequence[Candidate]:
        """Some hundred candidates: most of them variations of `parents`, which are on the front."""
        ...


class Informed(Source, Protocol):
    """A source that knows figures of every candidate before it is evaluated, or none of any."""

    def costs(self, params: Params) -> Sequence[float]:
        """Equally many figures of any candidate, on a scale on which steps mean the same everywhere."""
        ...


class Pool(NamedTuple):
    """Candidates as arrays, with which of them are single moves from the front and which are random.

    `candidate(i)` gives one of them in full.
    """

    levels: Levels
    known: Values
    moves: NDArray[np.bool_]
    random: NDArray[np.bool_]
    candidate: Callable[[int], Candidate]

    def only(self, rows: NDArray[np.int64]) -> Pool:
        """Some of them."""

        def candidate(i: int) -> Candidate:
            return self.candidate(int(rows[i]))

        return Pool(self.levels[rows], self.known[rows], self.moves[rows], self.random[rows], candidate)


def gathered(candidates: Sequence[Candidate], sites: Sites, objectives: int) -> Pool:
    """Candidates of a source as a pool."""
    unknown = (np.nan,) * objectives
    known = np.array([c.known or unknown for c in candidates], dtype=float).reshape(len(candidates), objectives)
    origins = np.array([c.origin for c in candidates])
    levels = sites.levels([c.params for c in candidates])
    return Pool(levels, known, origins == MOVE, origins == RANDOM, lambda i: candidates[i])


class Observed:
    """Candidates for a study whose space nobody declared: what is possible is learned from what was suggested.

    A site that is missing in some trials is taken to depend on a site that was there whenever it was, and whose level
    always decided: `kernel` depends on `operator` if it was suggested for "conv" and never for "pool".

    Args:
        sites: all of the study.
        levels: (n, d) those of earlier trials.
    """

    def __init__(self, sites: Sites, levels: Levels) -> None:
        self.sites = sites
        present = (levels >= 0).sum(axis=0)
        self.order = np.argsort(-present, kind="stable")
        self.gates = {i: gate for i in np.flatnonzero(present < len(levels)) if (gate := _gate(i, levels, present))}
        self.always = present == len(levels)

    def pool(self, parents: Sequence[Params], near: int, far: int, objectives: int, rng: np.random.Generator) -> Pool:
        """`near` variations of the parents and `far` random candidates.

        Of the variations, half change one site, a quarter change two, and a quarter mix two parents.
        """
        rows = self.sites.levels(parents)
        of = np.r_[np.arange(near) % len(rows), np.zeros(far, dtype=int)]
        levels = np.vstack((rows[of[:near]], np.where(self.always, 0, rows[of[near:]])))
        kind = rng.permutation(near) % 4
        moving = np.flatnonzero(kind != 3)
        levels[moving] = self._moved(levels[moving], rng)
        again = np.flatnonzero(kind == 2)
        levels[again] = self._moved(levels[again], rng)
        mixing = np.flatnonzero(kind == 3)
        levels[mixing] = _mixed(levels[mixing], rows[rng.integers(len(rows), size=len(mixing))], rng)
        levels[near:] = np.where(levels[near:] >= 0, self._random(far, rng), -1)
        levels = self._settled(levels, rng)
        origins = np.r_[np.array([MOVE, MOVE, "two moves", "crossover"])[kind], np.full(far, RANDOM)]

        def candidate(i: int) -> Candidate:
            return Candidate(self.sites.params(levels[i], parents[of[i]], rng), str(origins[i]))

        return Pool(levels, np.full((len(levels), objectives), np.nan), origins == MOVE, origins == RANDOM, candidate)

    def _random(self, count: int, rng: np.random.Generator) -> Levels:
        return rng.integers(self.sites.counts, size=(count, len(self.sites.counts)))

    def _moved(self, levels: Levels, rng: np.random.Generator) -> Levels:
        """Another level at one active site of every row: any other, or as often a near one where they are ordered."""
        lottery = np.where((levels >= 0) & (self.sites.counts > 1), rng.random(levels.shape), -1.0)
        row, column = np.arange(len(levels)), lottery.argmax(axis=1)
        counts, here = self.sites.counts[column], levels[row, column]
        other = (here + rng.integers(1, np.maximum(counts, 2))) % counts
        small = np.round(STEP * counts * rng.standard_normal(len(row))).astype(int)
        step = here + np.where(small == 0, 1, small)
        stepping = self.sites.ordered[column] & (rng.random(len(row)) < 0.5) & (step >= 0) & (step < counts)
        moved = levels.copy()
        moved[row, column] = np.where(here < 0, here, np.where(stepping, step, other))
        return moved

    def _settled(self, levels: Levels, rng: np.random.Generator) -> Levels:
        """With levels for sites that became active, and without those that did not stay so."""
        fresh = self._random(len(levels), rng)
        for column in self.order:
            gate = self.gates.get(column)
            if gate is None and not self.always[column]:
                continue  # nothing is known to decide about it: as its parent has it
            active = np.ones(len(levels), dtype=bool) if gate is None else gate.opens[levels[:, gate.column]]
            here = levels[:, column]
            levels[:, column] = np.where(active, np.where(here < 0, fresh[:, column], here), -1)
        return levels


class Gate(NamedTuple):
    """The column of the site that another depends on; whether that is active, by level and (last) for "inactive"."""

    column: int
    opens: NDArray[np.bool_]


def _gate(column: int | np.signedinteger[Any], levels: Levels, present: NDArray[np.int64]) -> Gate | None:
    """The site that always decided whether the one at `column` is active: of those, the most often present one."""
    here = levels[:, column] >= 0
    for other in np.argsort(-present, kind="stable"):
        there = levels[:, other] >= 0
        if present[other] <= present[column] or (here & ~there).any():
            continue
        seen = np.unique(levels[there, other])
        active = np.array([here[levels[:, other] == level].mean() for level in seen])
        if np.isin(active, (0, 1)).all():
            nearest = np.abs(np.arange(seen.max() + 1)[:, None] - seen).argmin(axis=1)
            beyond = np.full(1000, active[-1])  # a level that was never seen counts as the nearest one that was
            return Gate(int(other), np.r_[active[nearest], beyond, 0] == 1)
    return None


def _mixed(a: Levels, b: Levels, rng: np.random.Generator) -> Levels:
    """Every site from one of two parents, from the one that has it where only one does."""
    from_a = ((rng.random(a.shape) < 0.5) & (a >= 0)) | (b < 0)
    return np.where(from_a, a, b)

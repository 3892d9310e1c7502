"""The sampler: models of the objectives, candidates around the front, and the hypervolume that they may be expected to add."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from optuna.samplers import BaseSampler, RandomSampler

from archfront.space.errors import ArchfrontError

from .candidates import ORIGIN, START, Candidate, Observed, Pool, Source, gathered
from .gp import Kernel
from .history import History
from .improvement import Improvement
from .model import TRAINED, Objectives, chance, chosen, fit_kernels, milestone
from .sites import Features, Params
from .views import VIEWS, View

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.study import Study
    from optuna.trial import FrozenTrial

Values = NDArray[np.float64]

NEAR = 400
"""Variations of front members that are compared for a proposal."""

FAR = 100
"""Random candidates that are compared for a proposal."""

PARENTS = 40
"""Most members of the front that are varied for a proposal."""

WIDE = 8
"""Every so many proposals, hypervolume is counted up to the worst values on the front."""

PLAIN = 5
"""Every so many proposals, a random neighbour of the front is taken whatever the models say: they may be wrong."""

TIE = 1e-3
"""Weight of being good by itself, beside a share of the largest gain."""


class SurrogateSampler(BaseSampler):
    """Proposes what may add most hypervolume to the front, as Gaussian processes over the sites see it.

    Works in any study of Optuna: one objective or more, categorical, integer and float parameters, parameters that
    are suggested only under some choices, constraints (`trial.set_constraint`), parallel workers. The same trials and
    the same seed give the same proposal, also after a restart. It never proposes what was evaluated before while
    anything else is found. `docs/sampler.md` tells how it was chosen.

    Args:
        startup: random trials before the models take over.
        seed: of everything random.
        reference: the corner from which hypervolume is counted, one value an objective, in the study's own units. By
            default what is typical of a random candidate (see `View.corner`), and for every eighth proposal the worst
            values on the front, so that its ends are explored too.
        noise: the standard error of a measurement, one an objective; smaller differences count as ties. By default what
            the trials say themselves, in the user attribute `SPREAD`: those of archfront's own searches do.
        source: gives the candidates where the space is known (see `Source`); otherwise it is learned from the trials.
        costs: figures of a candidate that are known before it is evaluated, such as its parameters and multiply-adds,
            from its params; equally many of each, on a scale on which steps mean the same everywhere (take logarithms
            of sizes). Models are told them beside the choices. Without a source, what depends on what is learned, so
            params may be asked about of which some are not active.
    """

    def __init__(
        self,
        startup: int = 12,
        seed: int = 0,
        reference: Sequence[float] | None = None,
        noise: Sequence[float] | None = None,
        source: Source | None = None,
        costs: Callable[[Params], Sequence[float]] | None = None,
    ) -> None:
        if startup < 2:
            raise ArchfrontError(f"a surrogate needs at least 2 random trials to start with, got startup={startup}")
        self.startup = startup
        self.seed = seed
        self.reference = reference
        self.noise = noise
        self.source = source
        self.costs = costs
        self._random = RandomSampler(seed=seed)
        self._history: tuple[str, History] | None = None
        self._kernels: dict[View, tuple[object, list[Kernel]]] = {}

    # ------------------------------------------------------------------ Optuna's interface

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Every parameter that was seen, once the random trials are over."""
        history = self._read(study)
        return dict(history.distributions) if len(history.params) >= self.startup else {}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The parameters of the candidate that promises most; none while starting up."""
        candidate = self.propose(study, trial.number) if search_space else Candidate({}, START)
        study._storage.set_trial_user_attr(trial._trial_id, ORIGIN, candidate.origin)
        return candidate.params

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """A random value: while starting up, and for a parameter that was never seen before."""
        return self._random.sample_independent(study, trial, param_name, param_distribution)

    def reseed_rng(self) -> None:
        """Proposals differ by the number of their trial already; only the random start is seeded anew."""
        self._random.reseed_rng()

    # ------------------------------------------------------------------ proposing

    def propose(self, study: Study, number: int) -> Candidate:
        """The candidate for the trial of this number."""
        history = self._read(study)
        rng = np.random.default_rng((self.seed, number))
        pool = self._pool(history, rng)
        if number % PLAIN == PLAIN - 1 and pool.moves.any():
            return pool.candidate(int(rng.choice(np.flatnonzero(pool.moves))))
        features = history.described(pool.levels, self._costs(map(pool.candidate, range(len(pool.levels)))))
        worth = np.ones(len(features))
        if history.good.any():
            worth = self._worth(history, number, pool, features, rng)
        if history.constraints.size:
            seen = history.features(np.arange(len(history.params)))
            worth = worth * chance(seen, history.sites.widths, history.constraints, features)
        return pool.candidate(int(np.argmax(worth)))

    def _read(self, study: Study) -> History:
        if self._history is None or self._history[0] != study.study_name:
            self._history = study.study_name, History(study, self.costs)
        history = self._history[1]
        history.read(study)
        for name, given in (("reference", self.reference), ("noise", self.noise)):
            if given is not None and len(given) != len(history.signs):
                raise ArchfrontError(f"{name} needs {len(history.signs)} values, one an objective, got {list(given)}")
        return history

    def _pool(self, history: History, rng: np.random.Generator) -> Pool:
        """Variations of the front, and random candidates."""
        parents = [history.params[i] for i in rng.permutation(history.front)[:PARENTS]]
        if self.source is not None:
            pool = gathered(self.source(parents, rng), history.sites, len(history.signs))
        else:
            pool = Observed(history.sites, history.levels[-2000:]).pool(parents, NEAR, FAR, len(history.signs), rng)
        if not history.sites.exact:
            return pool
        fresh = np.flatnonzero(~history.taken(pool.levels))
        return pool.only(fresh) if len(fresh) else pool

    def _costs(self, candidates: Iterable[Candidate]) -> Values | None:
        """What is known of candidates before they are evaluated (k, c); None where nothing is."""
        if self.costs is None:
            return None
        return np.array([found.costs or self.costs(found.params) for found in candidates], dtype=float)

    def _worth(self, history: History, number: int, pool: Pool, features: Features, rng: np.random.Generator) -> Values:
        """What each candidate promises (k,): the hypervolume that it may be expected to add."""
        view = VIEWS[number % len(VIEWS)]
        noise = self._noise(history, len(history.params))
        rows = np.flatnonzero(history.usable)
        rows = rows[chosen(history.values[rows], TRAINED)]
        seen, observed, front = history.features(rows), history.values[rows], history.values[history.front]
        start = history.values[history.usable][: self.startup]
        warps = view.warps(observed, start, noise)
        kernels = self._fitted(history, view)
        models = Objectives(kernels, seen, observed, warps)
        reference = self._reference(history, front, number, lambda: view.corner(models, features[pool.random], start))
        if history.running:
            pending = self._described(history, history.running)
            believed = models.values(models.beliefs(pending)[0])
            front = np.vstack((front, believed))
            models = Objectives(kernels, np.vstack((seen, pending)), np.vstack((observed, believed)), warps)
        outcomes = view.outcomes(models, features, rng)
        outcomes = np.where(np.isnan(pool.known), outcomes, history.signs * pool.known)
        gain = Improvement(front - noise, reference).expected(outcomes)
        alone = np.exp(-models.beliefs(features)[0].mean(axis=1))  # decides where nothing promises a gain
        worth: Values = gain / max(gain.max(), 1e-300) + TIE * alone / alone.max()
        return worth

    def _described(self, history: History, params: Sequence[Params]) -> Features:
        """The features of candidates by their params."""
        costs = self._costs(Candidate(dict(found), "") for found in params)
        return history.described(history.sites.levels(params), costs)

    def _noise(self, history: History, trials: int) -> Values:
        """Differences that count as ties (m,): as stated, or else as the first trials say."""
        return history.noise(trials) if self.noise is None else np.array(self.noise, dtype=float)

    def _fitted(self, history: History, view: View) -> list[Kernel]:
        """Hyperparameters of a view, fitted to the trials up to the last milestone."""
        rows = np.flatnonzero(history.usable)
        rows = rows[: milestone(len(rows))]
        state = (id(history), len(rows), history.sites.widths.size)
        known, kernels = self._kernels.get(view, (None, []))
        if known != state:
            observed = history.values[rows]
            warps = view.warps(observed, observed[: self.startup], self._noise(history, int(rows[-1]) + 1))
            kernels = fit_kernels(history.features(rows), history.sites.widths, observed, warps)
            self._kernels[view] = state, kernels
        return kernels

    def _reference(self, history: History, front: Values, number: int, typical: Callable[[], Values]) -> Values:
        """The corner for the proposal of this number."""
        if self.reference is not None:
            given: Values = history.signs * np.array(self.reference, dtype=float)
            return given
        worst, best = front.max(axis=0), front.min(axis=0)
        if number % WIDE == 0 or len(worst) == 1:
            wide: Values = worst + 0.1 * (worst - best) + (len(worst) == 1)
            return wide
        corner: Values = np.maximum(typical(), best)
        return corner

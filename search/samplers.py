"""Samplers by name: Optuna's, and our own."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from archfront.space.errors import ArchfrontError, nearest

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

    from .surrogate.candidates import Informed

SAMPLERS = ("surrogate", "nsga2", "nsga3", "tpe", "gp", "qmc", "random")


def make_sampler(name: str, population: int, seed: int, source: Informed | None = None, known: int = 0) -> BaseSampler:
    """The sampler called `name`.

    Args:
        population: size of a generation (NSGA-II, NSGA-III) or number of random candidates to start with (the others).
        source: gives the candidates that the surrogate compares, so that all of them keep the budget.
        known: trials of the study so far. A search that goes on does so with random numbers of its own; with those that
            it began with it would propose what is known. (The surrogate's depend on the number of the trial.)
    """
    import optuna
    from optuna import samplers

    if name != "surrogate":
        seed = (seed + 104_729 * known) % 2**32
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        if name == "surrogate":
            from .surrogate.sampler import SurrogateSampler

            costs = source.costs if source is not None else None
            return SurrogateSampler(startup=population, seed=seed, source=source, costs=costs)
        if name in ("nsga2", "nsga3", "qmc"):
            from . import steady

            if name == "qmc":
                return steady.SteadyQMC(seed)
            return (steady.SteadyNSGAII if name == "nsga2" else steady.SteadyNSGAIII)(population, seed)
        if name == "tpe":
            return samplers.TPESampler(n_startup_trials=population, multivariate=True, group=True, seed=seed)
        if name == "gp":
            return samplers.GPSampler(n_startup_trials=population, seed=seed, warn_independent_sampling=False)
        if name == "random":
            return samplers.RandomSampler(seed=seed)
    raise ArchfrontError(f"unknown sampler {name!r}{nearest(name, SAMPLERS)}")

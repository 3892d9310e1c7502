"""Samplers by name: Optuna's, and our own."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from archfront.space.errors import ArchfrontError, nearest

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

    from .surrogate.candidates import Source

SAMPLERS = ("surrogate", "nsga2", "nsga3", "tpe", "gp", "qmc", "random")


def make_sampler(name: str, population: int, seed: int, source: Source | None = None) -> BaseSampler:
    """The sampler called `name`.

    Args:
        population: size of a generation (NSGA-II, NSGA-III) or number of random candidates to start with (the others).
        source: gives the candidates that the surrogate compares, so that all of them keep the budget.
    """
    import optuna
    from optuna import samplers

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        if name == "surrogate":
            from .surrogate.sampler import SurrogateSampler

            return SurrogateSampler(startup=population, seed=seed, source=source)
        if name == "nsga2":
            return samplers.NSGAIISampler(population_size=population, seed=seed)
        if name == "nsga3":
            return samplers.NSGAIIISampler(population_size=population, seed=seed)
        if name == "tpe":
            return samplers.TPESampler(n_startup_trials=population, multivariate=True, group=True, seed=seed)
        if name == "gp":
            return samplers.GPSampler(n_startup_trials=population, seed=seed)
        if name == "qmc":
            return samplers.QMCSampler(scramble=True, seed=seed, warn_independent_sampling=False)
        if name == "random":
            return samplers.RandomSampler(seed=seed)
    raise ArchfrontError(f"unknown sampler {name!r}{nearest(name, SAMPLERS)}")

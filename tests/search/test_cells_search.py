"""Searching cells: evolution against random search on a toy score, with equal budgets."""

from __future__ import annotations

import statistics
import warnings

import optuna

from archfront.search.samplers import make_sampler
from archfront.space.architecture import Architecture
from archfront.space.cell import searched_cell
from archfront.space.domains import one_of
from archfront.space.library.head.pyramid_classifier import PyramidClassifier
from archfront.space.library.operator.pool import Pool
from archfront.space.library.operator.skip import Skip
from archfront.space.library.operator.stacked_separable import StackedSeparable
from archfront.space.library.stem.convolution import ConvStem
from archfront.space.library.topology.cells import Cells
from archfront.space.network import Network
from archfront.space.space import Space, trial_pick
from archfront.space.types import Image

CELL = searched_cell(3, one_of(Skip(), Pool(mode=one_of("average", "max")), StackedSeparable(kernel=one_of(3, 5, 7))))
SPACE = Space(
    Image(3, 16, 16),
    Network(
        stem=ConvStem(width=8, stride=1),
        stages=(Cells(width=4, normal=CELL, reduction=CELL),),
        head=PyramidClassifier(classes=2),
    ),
)


def score(architecture: Architecture) -> float:
    """The mean kernel of the separable convolutions over all paths: a sum over choices, best with 7 everywhere."""
    operators = [part.spec for part in architecture.parts if ".nodes[" in part.path]
    return sum(spec.kernel for spec in operators if isinstance(spec, StackedSeparable)) / len(operators)


def best(sampler: str, seed: int, trials: int = 50) -> float:
    """The best score that a sampler finds."""
    study = optuna.create_study(direction="maximize", sampler=make_sampler(sampler, 10, seed))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        study.optimize(lambda trial: score(SPACE.resolve(trial_pick(SPACE, trial))), n_trials=trials)
    return study.best_value


def test_evolution_of_cells_is_at_least_as_good_as_random_search() -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    evolved, random = ([best(name, seed) for seed in range(10)] for name in ("nsga2", "random"))
    assert statistics.mean(evolved) >= statistics.mean(random)

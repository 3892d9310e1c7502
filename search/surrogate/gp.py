"""Gaussian processes over sites (Rasmussen, Williams, 2006, Gaussian Processes for Machine Learning)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from .sites import Features, Layout, rows_of

Values = NDArray[np.float64]

STEPS = 20
"""Most steps of the optimiser that fits hyperparameters."""

JITTER = 1e-6

RANK = 2
"""Numbers that describe an option where sites share their options; 4 predict no better."""


@dataclass(frozen=True)
class Kernel:
    """How alike two candidates are taken to be, from their similarity s in [0, 1] at every site.

        additive · s  +  joint * exp(-decay · (1 - s))

    The first term learns what every choice contributes by itself, as costs add up over a network; the second what
    choices do to each other, more strongly at sites that matter more.

    Where several sites share their options, how alike these are is learned as well: each option is a point v, and two
    are as alike as `v · v' / sqrt((1 + v · v) (1 + v' · v'))`. A site then learns from what was tried at the others,
    such as that two operators do nearly the same wherever they stand.

    Args:
        theta: logarithms of decay (t,), additive (t,), joint and the variance of the noise; then the points.
        layout: of the features, in t tables.
    """

    theta: Values
    layout: Layout

    @property
    def decay(self) -> Values:
        return np.exp(self.theta[: len(self.layout.widths)])

    @property
    def additive(self) -> Values:
        return np.exp(self.theta[len(self.layout.widths) : 2 * len(self.layout.widths)])

    @property
    def joint(self) -> float:
        return float(np.exp(self.theta[2 * len(self.layout.widths)]))

    @property
    def noise(self) -> float:
        return float(np.exp(self.theta[2 * len(self.layout.widths) + 1]))

    @property
    def variance(self) -> float:
        """Of any candidate before anything was observed."""
        return float(self.additive.sum()) + self.joint

    @cached_property
    def points(self) -> list[Values]:
        """For each set of sites with the same options, one row an option."""
        ends = np.cumsum([2 * len(self.layout.widths) + 2, *sizes(self.layout)])
        return [self.theta[a:b].reshape(-1, RANK) for a, b in pairwise(ends)]

    def embedded(self, features: Features) -> Features:
        """Features whose products are similarities."""
        if not self.layout.alike:
            return features
        found = features.copy()
        for tables, points in zip(self.layout.alike, self.points, strict=True):
            columns = self.layout.columns(tables)
            found[:, columns] = features[:, columns] @ rows_of(alike(points)[0])
        return found

    def terms(self, a: Features, b: Features) -> tuple[Values, Values]:
        """The additive and the joint term for every pair of rows, both embedded."""
        additive, decay = (np.repeat(weights, self.layout.widths) for weights in (self.additive, self.decay))
        joint = self.joint * np.exp((a * decay) @ b.T - self.decay.sum())
        return (a * additive) @ b.T, joint

    def __call__(self, a: Features, b: Features) -> Values:
        """The covariance of every row of `a` with every row of `b`."""
        additive, joint = self.terms(self.embedded(a), self.embedded(b))
        return additive + joint


def alike(points: Values) -> tuple[Values, Values]:
    """How alike options are (k, k), and what each was divided by (k,)."""
    products = points @ points.T + np.eye(len(points))
    lengths = np.sqrt(np.diag(products))
    return products / np.outer(lengths, lengths), lengths


def sizes(layout: Layout) -> list[int]:
    """How many numbers describe the options of each set of sites."""
    return [RANK * int(layout.widths[tables[0]] - 1) for tables in layout.alike]


def prior(layout: Layout) -> tuple[Values, Values]:
    """Mean and standard deviation of the hyperparameters, for objectives of variance 1.

    Sums over sites do not depend on the number of sites.
    """
    d, points = len(layout.widths), np.zeros(sum(sizes(layout)))
    mean = np.r_[np.log(np.r_[np.full(d, 5 / d), np.full(d, 0.6 / d), 0.5, 0.02]), points]
    return mean, np.r_[np.full(d, 0.5), np.full(d, 1.5), 1.0, 1.0, points + 1.0]


def fit(features: Features, layout: Layout, y: Values) -> Kernel:
    """The kernel under which `y` (n,) is most plausible, its prior taken into account."""
    from scipy.optimize import minimize  # type: ignore[import-untyped]

    mean, deviation = prior(layout)

    def loss(theta: Values) -> tuple[float, Values]:
        z = (theta - mean) / deviation
        value, slope = _evidence(Kernel(theta, layout), features, y)
        return value + 0.5 * float(z @ z), slope + z / deviation

    start = mean.copy()
    free = sum(sizes(layout))
    start[len(start) - free :] = 0.3 * np.random.default_rng(0).standard_normal(free)  # at 0 they do not move
    box = _box(mean, deviation)
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": STEPS}, bounds=box)
    return Kernel(found.x, layout)


def _box(mean: Values, deviation: Values) -> list[tuple[float, float]]:
    """Four standard deviations each way: wide enough for every answer, narrow enough for the arithmetic."""
    return [(m - 4 * s, m + 4 * s) for m, s in zip(mean, deviation, strict=True)]


def _evidence(kernel: Kernel, features: Features, y: Values) -> tuple[float, Values]:
    """Negative logarithm of the marginal likelihood, up to a constant, and its gradient."""
    from scipy.linalg.lapack import dpotrf, dpotri  # type: ignore[import-untyped]

    embedded = kernel.embedded(features)
    additive, joint = kernel.terms(embedded, embedded)
    factor, failed = dpotrf(additive + joint + (kernel.noise + JITTER) * np.eye(len(y)), lower=1, clean=1)
    if failed:
        raise ArithmeticError(f"a kernel matrix of {len(y)} candidates is not positive definite")
    lower = np.tril(dpotri(factor, lower=1)[0])
    inverse = lower + lower.T - np.diag(np.diag(lower))
    weights = inverse @ y
    value = 0.5 * float(y @ weights) + float(np.log(np.diag(factor)).sum())
    outer = 0.5 * (inverse - np.outer(weights, weights))
    joint = outer * joint
    starts = np.r_[0, np.cumsum(kernel.layout.widths)[:-1]]

    def by_table(matrix: Values) -> Values:
        """For every table the sum of `matrix` times the similarities there."""
        return np.add.reduceat(((matrix @ embedded) * embedded).sum(axis=0), starts)

    slope = np.r_[
        kernel.decay * (by_table(joint) - joint.sum()),
        kernel.additive * by_table(outer),
        joint.sum(),
        kernel.noise * np.trace(outer),
        *_slopes(kernel, features, outer, joint),
    ]
    return value, slope


def _slopes(kernel: Kernel, features: Features, outer: Values, joint: Values) -> Iterator[Values]:
    """The gradient with respect to the points of each set of sites, from that to the two terms of the covariance."""
    for tables, points in zip(kernel.layout.alike, kernel.points, strict=True):
        chosen = features[:, kernel.layout.columns(tables)[:, :-1]]  # (n, tables, options)
        wide = chosen.reshape(len(chosen), -1)
        to_similar = np.zeros((len(points), len(points)))
        for matrix, weights in ((outer, kernel.additive), (joint, kernel.decay)):
            sums = (matrix @ wide).reshape(chosen.shape)
            to_similar += np.einsum("t,nti,ntj->ij", weights[list(tables)], chosen, sums, optimize=True)
        similar, lengths = alike(points)
        through = to_similar * similar
        to_products = to_similar / np.outer(lengths, lengths)
        to_products -= np.diag((through.sum(axis=0) + through.sum(axis=1)) / (2 * lengths**2))
        yield ((to_products + to_products.T) @ points).ravel()


class Posterior:
    """What is believed about every candidate once `y` (n,) was observed at `features`."""

    def __init__(self, kernel: Kernel, features: Features, y: Values) -> None:
        from scipy.linalg import cho_solve  # type: ignore[import-untyped]
        from scipy.linalg.lapack import dpotri

        self.kernel = kernel
        self.features = kernel.embedded(features)
        additive, joint = kernel.terms(self.features, self.features)
        factor = np.linalg.cholesky(additive + joint + (kernel.noise + JITTER) * np.eye(len(y)))
        lower = np.tril(dpotri(factor, lower=1)[0])
        self._inverse = lower + np.tril(lower, -1).T
        self._weights = cho_solve((factor, True), y)

    def __call__(self, features: Features) -> tuple[Values, Values]:
        """Mean and standard deviation (m,), noise of a measurement not included."""
        additive, joint = self.kernel.terms(self.kernel.embedded(features), self.features)
        shared = additive + joint
        variance = self.kernel.variance - ((shared @ self._inverse) * shared).sum(axis=1)
        return shared @ self._weights, np.sqrt(np.maximum(variance, JITTER))

"""Gaussian processes over sites (Rasmussen, Williams, 2006, Gaussian Processes for Machine Learning)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .sites import Features

Values = NDArray[np.float64]

STEPS = 30
"""Most steps of the optimiser that fits hyperparameters."""

JITTER = 1e-6


@dataclass(frozen=True)
class Kernel:
    """How alike two candidates are taken to be, from their similarity s in [0, 1] at every site.

        additive · s  +  joint * exp(-decay · (1 - s))

    The first term learns what every choice contributes by itself, as costs add up over a network; the second what
    choices do to each other, more strongly at sites that matter more.

    Args:
        theta: logarithms of decay (d,), additive (d,), joint and the variance of the noise.
        widths: number of features of each of the d sites.
    """

    theta: Values
    widths: NDArray[np.int64]

    @property
    def decay(self) -> Values:
        return np.exp(self.theta[: len(self.widths)])

    @property
    def additive(self) -> Values:
        return np.exp(self.theta[len(self.widths) : -2])

    @property
    def joint(self) -> float:
        return float(np.exp(self.theta[-2]))

    @property
    def noise(self) -> float:
        return float(np.exp(self.theta[-1]))

    @property
    def variance(self) -> float:
        """Of any candidate before anything was observed."""
        return float(self.additive.sum()) + self.joint

    def terms(self, a: Features, b: Features) -> tuple[Values, Values]:
        """The additive and the joint term for every pair of rows."""
        additive, decay = (np.repeat(weights, self.widths) for weights in (self.additive, self.decay))
        joint = self.joint * np.exp((a * decay) @ b.T - self.decay.sum())
        return (a * additive) @ b.T, joint

    def __call__(self, a: Features, b: Features) -> Values:
        """The covariance of every row of `a` with every row of `b`."""
        additive, joint = self.terms(a, b)
        return additive + joint


def prior(widths: NDArray[np.int64]) -> tuple[Values, Values]:
    """Mean and standard deviation of the hyperparameters' logarithms, for objectives of variance 1.

    Sums over sites do not depend on the number of sites.
    """
    d = len(widths)
    mean = np.log(np.r_[np.full(d, 5 / d), np.full(d, 0.6 / d), 0.5, 0.02])
    return mean, np.r_[np.full(d, 0.5), np.full(d, 1.5), 1.0, 1.0]


def fit(features: Features, widths: NDArray[np.int64], y: Values) -> Kernel:
    """The kernel under which `y` (n,) is most plausible, its prior taken into account."""
    from scipy.optimize import minimize  # type: ignore[import-untyped]

    mean, deviation = prior(widths)

    def loss(theta: Values) -> tuple[float, Values]:
        z = (theta - mean) / deviation
        value, slope = _evidence(Kernel(theta, widths), features, y)
        return value + 0.5 * float(z @ z), slope + z / deviation

    found = minimize(loss, mean, jac=True, method="L-BFGS-B", options={"maxiter": STEPS}, bounds=_box(mean, deviation))
    return Kernel(found.x, widths)


def _box(mean: Values, deviation: Values) -> list[tuple[float, float]]:
    """Four standard deviations each way: wide enough for every answer, narrow enough for the arithmetic."""
    return [(m - 4 * s, m + 4 * s) for m, s in zip(mean, deviation, strict=True)]


def _evidence(kernel: Kernel, features: Features, y: Values) -> tuple[float, Values]:
    """Negative logarithm of the marginal likelihood, up to a constant, and its gradient."""
    from scipy.linalg.lapack import dpotrf, dpotri  # type: ignore[import-untyped]

    additive, joint = kernel.terms(features, features)
    factor, failed = dpotrf(additive + joint + (kernel.noise + JITTER) * np.eye(len(y)), lower=1, clean=1)
    if failed:
        raise ArithmeticError(f"a kernel matrix of {len(y)} candidates is not positive definite")
    lower = np.tril(dpotri(factor, lower=1)[0])
    inverse = lower + lower.T - np.diag(np.diag(lower))
    weights = inverse @ y
    value = 0.5 * float(y @ weights) + float(np.log(np.diag(factor)).sum())
    outer = 0.5 * (inverse - np.outer(weights, weights))
    starts = np.r_[0, np.cumsum(kernel.widths)[:-1]]

    def by_site(matrix: Values) -> Values:
        """For every site the sum of `matrix` times the similarities there."""
        return np.add.reduceat(((matrix @ features) * features).sum(axis=0), starts)

    joint = outer * joint
    slope = np.r_[
        kernel.decay * (by_site(joint) - joint.sum()),
        kernel.additive * by_site(outer),
        joint.sum(),
        kernel.noise * np.trace(outer),
    ]
    return value, slope


class Posterior:
    """What is believed about every candidate once `y` (n,) was observed at `features`."""

    def __init__(self, kernel: Kernel, features: Features, y: Values) -> None:
        from scipy.linalg import cho_solve  # type: ignore[import-untyped]

        self.kernel = kernel
        self.features = features
        covariance = kernel(features, features) + (kernel.noise + JITTER) * np.eye(len(y))
        self._factor = np.linalg.cholesky(covariance)
        self._weights = cho_solve((self._factor, True), y)

    def __call__(self, features: Features) -> tuple[Values, Values]:
        """Mean and standard deviation (m,), noise of a measurement not included."""
        from scipy.linalg import solve_triangular

        shared = self.kernel(features, self.features)
        known = solve_triangular(self._factor, shared.T, lower=True)
        variance = self.kernel.variance - (known * known).sum(axis=0)
        return shared @ self._weights, np.sqrt(np.maximum(variance, JITTER))

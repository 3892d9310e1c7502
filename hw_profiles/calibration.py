"""From the sum of a network's block latencies to its latency, learnt from a few networks that were measured whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Rule = Callable[[Array, Array], Array]
"""From sums of block latencies (ms) and numbers of parts to latencies (ms)."""

RIDGE_FROM = 8
"""Networks from which on a correction in log space is tried besides the affine rule."""


@dataclass(frozen=True)
class Accuracy:
    """How predictions compare with measurements of the same networks.

    Args:
        networks: how many.
        error: mean absolute relative error.
        rms: root mean square of it.
        within_5, within_10: share of networks within 5 % and 10 %.
        tau: Kendall's rank correlation; NaN for fewer than two networks.
    """

    networks: int
    error: float
    rms: float
    within_5: float
    within_10: float
    tau: float

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def accuracy(predicted: Sequence[float] | Array, measured: Sequence[float] | Array) -> Accuracy:
    """Compare predictions with measurements, in the same order and unit."""
    relative = np.abs(np.asarray(predicted) / np.asarray(measured) - 1)
    return Accuracy(
        networks=len(relative),
        error=float(relative.mean()),
        rms=float(np.sqrt((relative**2).mean())),
        within_5=float((relative <= 0.05).mean()),
        within_10=float((relative <= 0.10).mean()),
        tau=kendall(predicted, measured),
    )


def kendall(a: Sequence[float] | Array, b: Sequence[float] | Array) -> float:
    """Kendall's rank correlation tau-b."""
    from scipy.stats import kendalltau  # type: ignore[import-untyped]

    return float(kendalltau(a, b).statistic)


def affine(sums: Array, parts: Array, measured: Array) -> Rule:
    """measured = a + b sum, least squares of the relative error."""
    rows = np.column_stack((1 / measured, sums / measured))
    (a, b), *_ = np.linalg.lstsq(rows, np.ones(len(measured)), rcond=None)
    return lambda s, n: np.maximum(a + b * s, 1e-6)


def corrected(sums: Array, parts: Array, measured: Array) -> Rule:
    """The affine rule, times the exponential of a ridge regression of its log residual on log sum and log parts."""
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    base = affine(sums, parts, measured)
    ridge = make_pipeline(StandardScaler(), Ridge(alpha=1.0))
    ridge.fit(np.log(np.column_stack((sums, parts))), np.log(measured / base(sums, parts)))

    def rule(s: Array, n: Array) -> Array:
        latency: Array = base(s, n) * np.exp(ridge.predict(np.log(np.column_stack((s, n)))))
        return latency

    return rule


Fit = Callable[[Array, Array, Array], Rule]


def best_rule(sums: Array, parts: Array, measured: Array) -> Rule:
    """The affine rule, or the corrected one where there are enough networks and it leaves one out better."""
    fits: list[Fit] = [affine, corrected] if len(sums) >= RIDGE_FROM else [affine]
    errors = [
        np.abs(leave_one_out(fit, sums, parts, measured) / measured - 1).mean() if len(fits) > 1 else 0.0
        for fit in fits
    ]
    return fits[int(np.argmin(errors))](sums, parts, measured)


def leave_one_out(fit: Fit, sums: Array, parts: Array, measured: Array) -> Array:
    """Every network predicted by a rule fitted, choice of the rule included, to the others; shape (networks,)."""
    predicted = np.empty(len(sums))
    for left_out in range(len(sums)):
        keep = np.arange(len(sums)) != left_out
        rule = fit(sums[keep], parts[keep], measured[keep])
        predicted[left_out] = rule(sums[[left_out]], parts[[left_out]])[0]
    return predicted

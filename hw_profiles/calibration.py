"""From what the blocks of a network add up to, to its latency, learnt from a few networks that were measured whole.

A block that is measured alone finds its weights in the cache. In a network that outgrows the cache they have to be
fetched anew in every run, which on a server CPU made networks up to 1.6 times slower than their blocks. Hence three
rules: affine in the sum, the sum plus a growing share of what fetching everything anew would cost, and the sum times
a factor that grows with the weights. Which one suits a device and runtime is found by leaving networks out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

RIDGE_FROM = 8
"""Networks from which on a correction in log space is tried besides."""

CLEARLY = 0.8
"""Share of the plain rule's error that a correction may have at most."""

KNOTS = tuple(float(2**20 * 2 ** (half / 2)) for half in range(-4, 11))
"""Bytes of weights at which a network may begin to outgrow the cache: 256 KiB to 32 MiB."""

STEEPNESS = 4
"""How sharply the share of weights that is gone rises around the knot: 6 % at half of it, 94 % at twice."""

LEAST_MS = 1e-6


class Sums(NamedTuple):
    """What the blocks of networks add up to, one row a network.

    Args:
        ms: latencies of the blocks, each measured alone, shape (networks,).
        parts: how many blocks, shape (networks,).
        weights: bytes of their weights, shape (networks,).
        refill: what fetching all of it anew is expected to cost, up to a factor a column; shape (networks, columns).
    """

    ms: Array
    parts: Array
    weights: Array
    refill: Array

    def rows(self, which: Any) -> Sums:
        """Those networks alone."""
        return Sums(*(column[which] for column in self))


Rule = Callable[[Sums], Array]
"""From sums to latencies in milliseconds."""

Fit = Callable[[Sums, Array], Rule]
"""From the sums of measured networks and their latencies to a rule."""


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


# --------------------------------------------------------------------------- several processes


def agreed(process_ms: Array) -> Array:
    """What several processes of one run agree on: the median over processes, each brought to the level of all.

    A process can be a few percent slower than the next for all models alike; what is compared are models.

    Args:
        process_ms: latency of every model in every process, shape (models, processes).

    Returns:
        shape (models,).
    """
    logs = np.log(process_ms)
    levels = np.zeros(logs.shape[1])
    for _ in range(5):  # settles within two or three
        middle = np.median(logs - levels, axis=1)
        levels = (logs - middle[:, None]).mean(axis=0)
        levels -= np.median(levels)
    return np.exp(np.median(logs - levels, axis=1))


def repeatability(process_ms: Array) -> tuple[float, float]:
    """How well two halves of the processes agree: mean deviation as a share, Kendall's tau; NaN with one process."""
    if process_ms.shape[1] < 2:
        return float("nan"), float("nan")
    halves = np.stack([agreed(process_ms[:, start::2]) for start in (0, 1)])
    halves /= np.exp(np.log(halves).mean(axis=1, keepdims=True))
    return float(np.abs(halves[0] / halves[1] - 1).mean()), kendall(*halves)


# --------------------------------------------------------------------------- rules


def affine(sums: Sums, measured: Array) -> Rule:
    """measured = a + b sum, least squares of the relative error."""
    rows = np.column_stack((1 / measured, sums.ms / measured))
    (a, b), *_ = np.linalg.lstsq(rows, np.ones(len(measured)), rcond=None)
    return lambda s: np.maximum(a + b * s.ms, LEAST_MS)


def spilling(knot: float, sums: Sums, measured: Array) -> Rule:
    """measured = b sum + share(weights) (c · refill), least squares of the relative error, no coefficient negative.

    The share of what the cache no longer holds when it is needed again rises from 0 to 1 around `knot` bytes.
    """
    from scipy.optimize import nnls  # type: ignore[import-untyped]

    def columns(s: Sums) -> Array:
        share = 1 / (1 + (knot / np.maximum(s.weights, 1.0)) ** STEEPNESS)
        return np.column_stack((s.ms, share[:, None] * s.refill))

    factors, _ = nnls(columns(sums) / measured[:, None], np.ones(len(measured)))
    return lambda s: np.maximum(np.asarray(columns(s) @ factors), LEAST_MS)


def slowed(sums: Sums, measured: Array) -> Rule:
    """measured = a + (b + c weights) sum, least squares of the relative error, no coefficient negative.

    The larger a network, the less of what any block needs is still near when its turn comes: code and activations go
    the way of the weights, so all blocks slow down in proportion.
    """
    from scipy.optimize import nnls

    def columns(s: Sums) -> Array:
        return np.column_stack((np.ones(len(s.ms)), s.ms, s.ms * s.weights / 2**20))

    factors, _ = nnls(columns(sums) / measured[:, None], np.ones(len(measured)))
    return lambda s: np.maximum(np.asarray(columns(s) @ factors), LEAST_MS)


def corrected(base: Fit, sums: Sums, measured: Array) -> Rule:
    """A rule, times the exponential of a ridge regression of its log residual on log sum and log parts."""
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    def logs(s: Sums) -> Array:
        return np.log(np.column_stack((s.ms, s.parts)))

    plain = base(sums, measured)
    ridge = make_pipeline(StandardScaler(), Ridge(alpha=1.0))
    ridge.fit(logs(sums), np.log(measured / plain(sums)))
    return lambda s: np.asarray(plain(s) * np.exp(ridge.predict(logs(s))))


def best_rule(sums: Sums, measured: Array) -> Rule:
    """The rule that leaves one out best: affine, slowed, spilling at some knot, or the better of them corrected.

    The correction is tried where there are enough networks for it, and has to be clearly better: among a dozen
    networks something always explains a little.
    """
    fits: list[Fit] = [affine, slowed, *(partial(spilling, knot) for knot in KNOTS)]
    errors = [_left_out_rms(fit, sums, measured) for fit in fits]
    best, least = fits[int(np.argmin(errors))], min(errors)
    if len(measured) >= RIDGE_FROM:
        ridge = partial(corrected, best)
        best = ridge if _left_out_rms(ridge, sums, measured) < CLEARLY * least else best
    return best(sums, measured)


def _left_out_rms(fit: Fit, sums: Sums, measured: Array) -> float:
    return float(np.sqrt(((leave_one_out(fit, sums, measured) / measured - 1) ** 2).mean()))


def leave_one_out(fit: Fit, sums: Sums, measured: Array) -> Array:
    """Every network predicted by a rule fitted, choice of the rule included, to the others; shape (networks,)."""
    predicted = np.empty(len(measured))
    for left_out in range(len(measured)):
        keep = np.arange(len(measured)) != left_out
        predicted[left_out] = fit(sums.rows(keep), measured[keep])(sums.rows([left_out]))[0]
    return predicted

"""Block latencies that were not measured, from those that were: a Gaussian process on what specs say of themselves.

On a space of 320 distinct blocks, 100 measured ones chosen by `spread_order` gave the other 220 with a mean error of
about 5 %, 200 gave the rest within 3.5 % (ONNX Runtime, one thread; the choice of kernel was made on the same space;
benchmarks/predictor.py measures it anew). Adding counted multiply-adds to the features did not help there.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from archfront.space.serial import encode

from .runtimes import Workload

Array = NDArray[np.float64]


def features(workload: Workload) -> dict[str, float]:
    """What the latency of a block may depend on, by name.

    Numbers in its spec and its types as logarithms, so that products of them become sums; names as 0/1 indicators.
    """
    spec, x = workload
    found = dict(_fields(encode(spec), ""))
    for side, kind in (("input", x), ("output", spec.output(x))):
        found[side] = math.log(sum(math.prod(shape) for shape in kind.shapes))
        for axis, extent in enumerate(kind.shapes[0]):
            found[f"{side}[{axis}]"] = math.log(extent)
    return found


def _fields(value: Any, path: str) -> Iterator[tuple[str, float]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _fields(item, f"{path}.{key}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _fields(item, f"{path}[{index}]")
    elif value is None or isinstance(value, (bool, str)):
        yield f"{path}={value}", 1.0
    else:
        yield path, math.copysign(math.log1p(abs(value)), value)


def matrix(workloads: Sequence[Workload]) -> Array:
    """Standardised features of many workloads, shape (workloads, features)."""
    from sklearn.pipeline import make_pipeline

    points: Array = make_pipeline(*_scaling()).fit_transform([features(workload) for workload in workloads])
    return points


def _scaling() -> tuple[Any, Any]:
    from sklearn.feature_extraction import DictVectorizer
    from sklearn.preprocessing import StandardScaler

    return DictVectorizer(sparse=False), StandardScaler()


def spread_order(points: Array, count: int, taken: Sequence[int] = ()) -> list[int]:
    """`count` rows chosen one after the other, each farthest from all chosen before (and from those `taken`).

    Begins at the row nearest to the mean where none is taken.
    """
    nearest = np.full(len(points), np.inf)
    chosen = list[int]()
    for row in taken:
        nearest = np.minimum(nearest, ((points - points[row]) ** 2).sum(axis=1))
    nearest[list(taken)] = -1.0
    while len(chosen) < min(count, len(points) - len(taken)):
        first = not chosen and not len(taken)
        row = int(((points - points.mean(axis=0)) ** 2).sum(axis=1).argmin() if first else nearest.argmax())
        chosen.append(row)
        nearest = np.minimum(nearest, ((points - points[row]) ** 2).sum(axis=1))
        nearest[row] = -1.0
    return chosen


class Interpolator:
    """Latencies of blocks that were not measured.

    `error` is the leave-one-out error of the measured ones: the root mean square of the logarithm of predicted over
    measured. They are farther from each other than another block is from them, so it errs on the high side.

    Args:
        known: measured blocks.
        ms: their latencies in milliseconds.
    """

    def __init__(self, known: Sequence[Workload], ms: Sequence[float]) -> None:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.gaussian_process import GaussianProcessRegressor
        from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel
        from sklearn.pipeline import make_pipeline

        kernel = ConstantKernel(10.0) * Matern(10.0, (0.1, 1e3), nu=2.5) + WhiteKernel(1e-3, (1e-6, 1e-1))
        process = GaussianProcessRegressor(kernel, normalize_y=True, random_state=0)
        self._model = make_pipeline(*_scaling(), process)
        logs = np.log(np.asarray(ms, dtype=float))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # a length at its bound: the feature does not matter
            self._model.fit([features(workload) for workload in known], logs)
        inverse = np.linalg.inv(process.kernel_(process.X_train_))
        errors = (inverse @ (logs - logs.mean())) / np.diag(inverse)  # Rasmussen and Williams, 2006, equation 5.12
        self.error = float(np.sqrt(np.mean(errors**2)))

    def predict(self, wanted: Sequence[Workload]) -> list[float]:
        """The latencies of `wanted` in milliseconds; one by one, so that none depends on the others to the last bit."""
        return [math.exp(self._model.predict([features(workload)])[0]) for workload in wanted]

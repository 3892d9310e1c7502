"""Latency inside a search: a table of parts predicts while searching, the device has the last word on the front."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from itertools import product
from pathlib import Path

import numpy as np

from archfront.hw_profiles.calibration import Accuracy, Array
from archfront.hw_profiles.metrics import Measurement
from archfront.hw_profiles.profile import LatencyError, Profile
from archfront.hw_profiles.protocol import Schedule, measure
from archfront.hw_profiles.table import LatencyTable, sums_of
from archfront.hw_profiles.transport import Transport
from archfront.space.architecture import Architecture
from archfront.space.errors import SpaceError
from archfront.space.limits import Bounds
from archfront.space.space import Space
from archfront.space.spec import Spec
from archfront.space.types import FeatureType

from .budget import Bound
from .config import LatencyConfig
from .progress import Advance, Reporter

LONGEST = 600
"""Seconds for one attempt at measuring blocks beyond which no further one is made."""

NEVER = 1e9
"""Milliseconds that stand for a part which the device cannot run: more than any budget, and still a number."""

WORST_ERROR = 0.2
"""Mean error of predictions left one out above which the search warns: the bound on latency is then off by a fifth."""

WORST_TAU = 0.5
"""Kendall's tau of them below which it warns: more than one pair of networks in four is put in the wrong order."""

POOL = 300
"""Random architectures from which the calibration networks are chosen."""


class LatencyModel:
    """Predicts and measures latency for one study.

    Args:
        space: the space; its parts are measured for the table.
        profile: the device and how it runs networks.
        config: how much is measured.
        file: where the table is kept.
        seed: of the orders in which things are measured.
        reporter: where progress goes.
        within: the bounds of the budget, given a table of parts: predictions are calibrated on networks that keep
            them, because a network whose weights outgrow a cache is slower than its parts, and the search meets none.
        where: entered for measuring; gives the way to the device, None for the one that the profile names.
    """

    def __init__(
        self,
        space: Space,
        profile: Profile,
        config: LatencyConfig,
        file: Path,
        seed: int,
        reporter: Reporter,
        within: Callable[[LatencyTable], Bounds | None],
        where: Callable[[], AbstractContextManager[Transport | None]] = nullcontext,
    ) -> None:
        self.space = space
        self.profile = profile
        self.config = config
        self.file = file
        self.seed = seed
        self.reporter = reporter
        self.within = within
        self.where = where

    @cached_property
    def table(self) -> LatencyTable:
        """The table of part latencies, calibrated on whole networks; measured at first use, read back afterwards."""
        if self.file.exists():
            table = LatencyTable.load(self.file, self.profile)
            if table.nets:
                table.expect(self.space.parts())
                return table
        elif self.config.blocks_from:
            table = LatencyTable.borrowed(self.config.blocks_from, self.profile)
        else:
            table = LatencyTable(self.profile)
        with self.where() as table.device:
            if table.blocks_of.digest == self.profile.digest:
                self._fill(table)
            with self.reporter.track("Calibrating latency", 1) as advance:
                pool = self._pool(table)
                schedule = Schedule(max_seconds=self.config.seconds / 2, processes=4, rounds=6, seed=self.seed)
                table.calibrate(pool, count=self.config.calibration, schedule=schedule, progress=_shown(advance))
                table.save(self.file)
        table.device = None
        borrowed = table.blocks_of.digest != self.profile.digest
        blocks = f", from blocks of {table.blocks_of.name}" if borrowed else ""
        self.reporter.note(f"Latency predictions on {self.profile.name}{blocks}: {table.report}")
        if is_poor(table.report.left_out):
            self.reporter.note(
                "Warning: these predictions are poor, so the search may look in the wrong place; what it finds is measured "
                "at the end. Better ones take a quieter machine, or more of latency.seconds and latency.calibration in a "
                "study of another name"
            )
        return table

    def _pool(self, table: LatencyTable) -> list[Architecture]:
        """Random architectures to calibrate on: within the budget, if that leaves enough of them."""
        rng = random.Random(self.seed)
        try:
            bounds = self.within(table)
            inside = [self.space.sample(rng, over="sites", bounds=bounds) for _ in range(POOL)]
        except SpaceError:
            inside = []  # the budget may be impossible; that is said once predictions can say by how much
        if len(set(inside)) > self.config.calibration:
            return inside
        return inside + [self.space.sample(rng, over="sites") for _ in range(POOL)]

    def _fill(self, table: LatencyTable) -> None:
        """Measure blocks until those that were not measured can be interpolated; a busy machine gets more time."""
        parts = list(self.space.parts())
        with self.reporter.track("Measuring blocks", 1) as advance:
            seconds = self.config.seconds / 2
            while True:
                filled = table.fill(
                    parts, limit=self.config.blocks, max_seconds=seconds, progress=_shown(advance), seed=self.seed
                )
                table.save(self.file)
                try:
                    return table.expect(parts)
                except LatencyError:
                    if not filled.interpolated or seconds > LONGEST:
                        raise
                seconds *= 2

    def prepare(self) -> None:
        """Measure what predictions need, or read it back."""
        failures = self.table.failures
        if failures:
            (spec, x), reason = next(iter(failures.items()))
            self.reporter.note(
                f"{len(failures)} blocks cannot run on {self.profile.name}, and no candidate will hold them; the first is "
                f"{spec} on {x}: {reason}"
            )

    def part_ms(self, spec: Spec, x: FeatureType) -> float:
        """The latency of one part as the table has it, before calibration; `NEVER` where the device cannot run it."""
        return min(self.table.part_ms(spec, x), NEVER)

    def predict(self, architecture: Architecture) -> Measurement:
        """The calibrated prediction for a network."""
        return self.table.predict(architecture)

    def measure(
        self, architectures: Iterable[Architecture], failed: Callable[[Architecture, LatencyError], None]
    ) -> dict[Architecture, tuple[Measurement, bool]]:
        """The measured latency of whole networks, in one interleaved run; and whether the machine was noisy.

        Args:
            failed: told about networks that the device cannot run; they are left out.
        """
        schedule = Schedule(
            max_seconds=self.config.final_seconds, processes=self.config.processes, seed=self.seed, target=0.02
        )
        named = {architecture.digest: architecture for architecture in architectures}
        with self.where() as device, self.reporter.track("Measuring the front", 1) as advance:
            results = measure(
                named,
                self.profile,
                schedule,
                _shown(advance),
                failed=lambda digest, error: failed(named[digest], error),
                device=device,
            )
        return {named[digest]: (result.measurement(), result.noisy) for digest, result in results.items()}

    # ------------------------------------------------------------------ sums and values

    @cached_property
    def _corners(self) -> Array:
        """The rest of what parts add up to, least and greatest over the space, in all four combinations of the number
        of parts with weights and refilling; rows as `LatencyTable.part_sums` has them, without the latency."""
        width = len(self.table.taught[0].refill[0]) + 2
        low, high = (np.minimum(end, NEVER) for end in self.space.graph.root.extremes(self._rest, width))
        return np.array([[parts[0], *rest[1:]] for parts, rest in product((low, high), repeat=2)])

    def _rest(self, spec: Spec, x: FeatureType) -> tuple[float, ...]:
        return self.table.part_sums(spec, x)[1:]

    def value(self, total: float, rest: Array) -> float:
        """The calibrated latency of a network whose parts take `total` ms together and add up to `rest` besides."""
        return float(self.table.rule(sums_of(np.array([[total, *rest]])))[0])

    def typical(self, total: float) -> float:
        """`value` for a network that is like the measured one nearest in `total`."""
        sums, _ = self.table.taught
        nearest = int(np.abs(np.log(sums.ms / max(total, 1e-9))).argmin())
        like = np.array([sums.parts[nearest], sums.weights[nearest], *sums.refill[nearest]])
        return self.value(total, like * total / sums.ms[nearest])

    def sum_bound(self, bound: Bound) -> Bound:
        """The widest bound on the sum of part latencies under which `bound` on the latency can be kept.

        How the sum becomes a latency depends on the number of parts and on whether the weights outgrow the cache, so
        what this lets through is still to be judged by `predict`.
        """
        low = -math.inf if bound.low == -math.inf else min(self._sum_at(bound.low, rest) for rest in self._corners)
        most = NEVER / 2 if self.table.failures else math.inf
        high = most if bound.high == math.inf else max(self._sum_at(bound.high, rest) for rest in self._corners)
        return Bound("predicted_latency_ms", low, high)

    def _sum_at(self, latency: float, rest: Array) -> float:
        """The sum at which `value` reaches `latency`, by bisection; it grows with the sum. 0 where it begins above."""
        low, high = 0.0, max(latency, 1e-3)
        while self.value(high, rest) < latency and high < 1e9:
            high *= 2
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if self.value(middle, rest) < latency else (low, middle)
        return (low + high) / 2


def is_poor(left_out: Accuracy) -> bool:
    """Whether predictions are off by more than `WORST_ERROR`, or order networks worse than `WORST_TAU`; NaN is poor."""
    return not (left_out.error <= WORST_ERROR and left_out.tau >= WORST_TAU)


def _shown(advance: Advance) -> Callable[[int, int, str], None]:
    return lambda done, total, what: advance(done, what, total)

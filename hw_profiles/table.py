"""Latency of whole networks from a table of the latencies of their parts.

table = LatencyTable(profile("local-cpu"))
table.fill(space.parts())
table.calibrate(space.sample(seed) for seed in range(200))
table.predict(architecture)  # Measurement(value=..., provenance="predicted", spread=...)
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from archfront.hw_profiles.metrics import Measurement
from archfront.space.architecture import Architecture
from archfront.space.network import Part
from archfront.space.spec import Spec
from archfront.space.types import FeatureType

from .calibration import Accuracy, Array, Rule, Sums, accuracy, agreed, best_rule, leave_one_out, repeatability
from .cost import part_cost
from .interpolate import Interpolator, matrix, spread_order
from .profile import LatencyError, Precision, Profile
from .protocol import LatencyResult, Progress, Schedule, measure
from .runtimes import Overhead, Probe, Workload
from .table_file import Block, Contents, Net, read, write
from .transport import Transport

EVICT = 1 << 22
"""Bytes that are copied to empty the cache: twice the private cache of today's largest cores."""

FLOOR_MS = 1e-4
"""Least latency of a block: one that costs no more than calling the runtime."""

INTERPOLATE_FROM = 20
"""Blocks that must have been measured before others are interpolated."""

WEIGHT_BYTES: dict[Precision, int] = {"fp32": 4, "fp16": 2, "bf16": 2, "int8": 1}

CALIBRATE_FROM = 4
"""Networks that must be measured whole for a calibration: the affine rule has two unknowns, and one is left out."""


@dataclass(frozen=True)
class Filled:
    """What `LatencyTable.fill` did.

    Args:
        measured: blocks measured now.
        known: blocks known before.
        interpolated: blocks left to interpolation.
        failures: why blocks that were asked for cannot be measured, by block, also those found out before.
    """

    measured: int
    known: int
    interpolated: int
    failures: dict[str, str]


@dataclass(frozen=True)
class Report:
    """How good the predictions of a table are.

    Args:
        left_out: every calibration network predicted from the others.
        repeatability: mean deviation between two halves of the processes, as a share; no prediction can be better.
        repeatability_tau: Kendall's tau between them; both are NaN with one process.
        interpolation: root mean square leave-one-out error of interpolated blocks, None where too few are measured.
    """

    left_out: Accuracy
    repeatability: float
    repeatability_tau: float
    interpolation: float | None

    def __str__(self) -> str:
        left = self.left_out
        return (
            f"error {left.error:.1%}, within 5 %: {left.within_5:.0%}, within 10 %: {left.within_10:.0%}, "
            f"Kendall tau {left.tau:.3f} (left one out of {left.networks}); the measurement itself repeats within "
            f"{self.repeatability:.1%}, tau {self.repeatability_tau:.3f}"
        )


class LatencyTable:
    """Latencies of parts on one profile, and what whole networks taught about adding them up.

    All blocks are kept at the level of the first run: later ones are scaled by the reference network, because the level
    of a machine drifts unseen. Predictions are at the level of the last calibration.
    """

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self.blocks_of = profile
        """Where the blocks were measured: another device, for a table that `borrowed` made."""
        self.device: Transport | None = None
        """The way to the device, by default the one that the profile names."""
        self.blocks: dict[Workload, Block] = {}
        self.failures: dict[Workload, str] = {}
        """Why the runtime cannot run these blocks, found out by `fill`."""
        self.nets: list[Net] = []
        self.reference_ms: float | None = None
        self._guesses: dict[Workload, float] = {}
        self._refills: dict[Workload, float] = {}
        self._interpolator: Interpolator | None = None
        self._rule: Rule | None = None
        self._report: Report | None = None

    # ----------------------------------------------------------------- measuring blocks

    def fill(
        self,
        parts: Iterable[Part | Workload],
        limit: int = 200,
        max_seconds: float = 40.0,
        progress: Progress | None = None,
        seed: int = 0,
    ) -> Filled:
        """Measure the distinct parts that are not in the table yet, all in one interleaved run.

        Where there are more than `limit`, or time runs out, a well-spread choice is measured and `predict` interpolates
        the rest. A block that the runtime cannot run is left out and remembered in `failures`: the others do not suffer
        for it, `part_ms` says that it takes forever, and `predict` refuses the networks that hold it.

        Raises:
            LatencyError: as `measure`, but not for blocks that cannot be converted.
        """
        asked = dict.fromkeys(_workload(part) for part in parts)
        new = [workload for workload in asked if workload not in self.blocks and workload not in self.failures]
        if new and self.blocks_of.digest != self.profile.digest:
            raise LatencyError(
                f"the blocks of this table were measured on {self.blocks_of.name}, and those of two devices are never "
                "mixed: take that table as it is, or begin one of this device"
            )
        if new:
            self._measure(self._chosen(new, limit), max_seconds, progress, seed)
        measured = sum(workload in self.blocks for workload in new)
        failed = sum(workload in self.failures for workload in new)
        failures = {_shown(workload): self.failures[workload] for workload in asked if workload in self.failures}
        known = len(asked) - len(new) - (len(failures) - failed)
        return Filled(measured, known, len(new) - measured - failed, failures)

    def ensure(self, architecture: Architecture, max_seconds: float = 40.0, progress: Progress | None = None) -> None:
        """Measure every part of the architecture that is not in the table yet."""
        self.fill(architecture.parts, limit=len(architecture.parts), max_seconds=max_seconds, progress=progress)

    def _chosen(self, new: Sequence[Workload], limit: int) -> list[Workload]:
        known = [*self.blocks]
        order = spread_order(matrix([*known, *new]), limit, range(len(known)))
        return [new[row - len(known)] for row in order]

    def _measure(self, workloads: list[Workload], max_seconds: float, progress: Progress | None, seed: int) -> None:
        overhead = "(overhead)"
        named = {_shown(workload): workload for workload in workloads}

        def failed(name: str, error: LatencyError) -> None:
            if name == overhead:
                raise error
            self.failures[named[name]] = str(error).removeprefix(f"{name}: ")

        schedule = Schedule(
            target=0.5,
            max_seconds=max_seconds / 2,
            processes=8,
            rounds=6,
            visit_ms=1.0,
            warm_ms=5.0,
            seed=seed,
            evict=EVICT,
        )
        probed = {overhead: (Overhead(), Probe.INPUT), **named}
        results = measure(probed, self.profile, schedule, progress, max_seconds / 2, failed=failed, device=self.device)
        warm = agreed(np.array([result.process_ms for result in results.values()]))
        cold = agreed(np.array([result.cold_process_ms for result in results.values()]))
        rows = dict(zip(results, zip(warm, cold - warm, strict=True), strict=True))
        level = results.pop(overhead).health.reference_ms
        calling, entering = rows[overhead]
        self.reference_ms = self.reference_ms or level
        scale = self.reference_ms / level
        for name, result in results.items():
            ms, refill = rows[name]
            self.blocks[named[name]] = Block(
                scale * max(float(ms - calling), FLOOR_MS),
                result.width,
                scale * max(float(refill - entering), FLOOR_MS),
            )
        self._forget()

    # ----------------------------------------------------------------- whole networks

    def calibrate(
        self,
        architectures: Iterable[Architecture],
        count: int = 12,
        schedule: Schedule | None = None,
        progress: Progress | None = None,
    ) -> Report:
        """Measure `count` of the architectures whole, as `choose` names them, and fit the rule.

        Replaces the calibration before. Give a few hundred samples of the space to choose from.

        Raises:
            LatencyError: as `choose` and `measure`.
        """
        chosen = {architecture.digest: architecture for architecture in self.choose(architectures, count)}
        schedule = schedule or Schedule(max_seconds=20.0)
        return self.learn(measure(chosen, self.profile, schedule, progress, device=self.device), chosen)

    def choose(self, architectures: Iterable[Architecture], count: int) -> list[Architecture]:
        """`count` different architectures that spread table sum, depth and bytes of weights.

        Those that hold parts which the runtime cannot run are passed over.

        Raises:
            LatencyError: fewer than four different architectures, or parts that the table cannot give.
        """
        different = {architecture.digest: architecture for architecture in architectures}
        pool = [architecture for architecture in different.values() if not self._failing(architecture)]
        if min(count, len(pool)) < CALIBRATE_FROM:
            raise LatencyError(
                f"calibration needs at least {CALIBRATE_FROM} different architectures, got {min(count, len(pool))}"
            )
        self.expect(part for architecture in pool for part in architecture.parts)
        sums = self.sums(pool)
        points = np.log(np.column_stack((sums.ms, sums.parts, np.maximum(sums.weights, 1.0))))
        points = (points - points.mean(axis=0)) / np.maximum(points.std(axis=0), 1e-9)
        return [pool[row] for row in spread_order(points, count)]

    def learn(self, results: dict[str, LatencyResult], architectures: dict[str, Architecture]) -> Report:
        """Take measurements of whole networks, by the same names, as the calibration.

        Raises:
            LatencyError: a result of another profile, results of several runs, or fewer than four.
        """
        if len(results) < CALIBRATE_FROM:
            raise LatencyError(f"calibration needs at least {CALIBRATE_FROM} measured networks, got {len(results)}")
        if len({result.run for result in results.values()}) > 1:
            raise LatencyError("networks to calibrate on must be measured in one run: the level of a machine drifts")
        for name, result in results.items():
            if result.profile != self.profile.digest:
                raise LatencyError(f"{name} was measured on profile {result.profile}, not on {self.profile.digest}")
        self.nets = [Net(architectures[name], result.process_ms) for name, result in results.items()]
        self._forget()
        return self.report

    @property
    def report(self) -> Report:
        """The error of the predictions beside the repeatability of the truth.

        Raises:
            LatencyError: not calibrated.
        """
        if self._report is None:
            sums, measured = self.taught
            loo = accuracy(leave_one_out(best_rule, sums, measured), measured)
            interpolator = self.interpolator
            repeats = repeatability(np.array([net.process_ms for net in self.nets]))
            self._report = Report(loo, *repeats, interpolator.error if interpolator else None)
        return self._report

    @property
    def taught(self) -> tuple[Sums, Array]:
        """What the parts of the calibration networks add up to, and the latencies of these networks in milliseconds.

        Raises:
            LatencyError: not calibrated.
        """
        if not self.nets:
            raise LatencyError("the latency table is not calibrated: calibrate(architectures) measures some whole")
        measured = agreed(np.array([net.process_ms for net in self.nets]))
        return self.sums([net.architecture for net in self.nets]), measured

    # ----------------------------------------------------------------- predicting

    def predict(self, architecture: Architecture) -> Measurement:
        """The latency of a network in milliseconds.

        The spread covers 95 % by the leave-one-out error of the calibration and of interpolated parts. Without
        calibration it is the plain sum of the parts and has no known error: `spread` is None.

        Raises:
            LatencyError: parts that the runtime cannot run, or that were neither measured nor can be interpolated;
                names them.
        """
        failing = self._failing(architecture)
        if failing:
            raise LatencyError(
                f"{self.profile.runtime} cannot run {'; '.join(f'{_shown(w)} ({self.failures[w]})' for w in failing)}"
            )
        sums = self.sums([architecture])
        total = float(sums.ms[0])
        if not self.nets:
            return Measurement(total, "predicted", None, len(architecture.parts))
        value = float(self.rule(sums)[0])
        guesses = [self._guesses[w] for w in map(_workload, architecture.parts) if w not in self.blocks]
        interpolated = math.hypot(*guesses) * self.interpolator.error if guesses and self.interpolator else 0.0
        error = math.hypot(value * self.report.left_out.rms, interpolated * value / total)
        return Measurement(value, "predicted", 1.96 * error, len(self.nets))

    @property
    def rule(self) -> Rule:
        """From what parts add up to, to latencies of whole networks; increasing in the sum of latencies.

        Raises:
            LatencyError: not calibrated.
        """
        if self._rule is None:
            self._rule = best_rule(*self.taught)
        return self._rule

    def part_ms(self, spec: Spec, x: FeatureType) -> float:
        """The latency of one part in milliseconds, measured or interpolated, without the price of calling the runtime.

        Infinite for a part that the runtime cannot run, so no budget has room for it.

        Raises:
            LatencyError: neither measured nor possible to interpolate.
        """
        block = self.blocks.get((spec, x))
        if block is not None:
            return block.ms
        if (spec, x) in self.failures:
            return math.inf
        if (spec, x) not in self._guesses:
            self._guess([(spec, x)])
        return self._guesses[spec, x]

    def expect(self, parts: Iterable[Part | Workload]) -> None:
        """Interpolate all of these parts that were not measured at once, which is faster than one by one."""
        wanted = dict.fromkeys(map(_workload, parts))
        there = (self.blocks, self._guesses, self.failures)
        missing = [workload for workload in wanted if not any(workload in known for known in there)]
        if missing:
            self._guess(missing)

    def part_sums(self, spec: Spec, x: FeatureType) -> tuple[float, ...]:
        """What one part contributes to `Sums`: its latency, 1, its bytes of weights, and the cost of an empty cache."""
        weights = WEIGHT_BYTES[self.profile.precision] * part_cost(spec, x).params
        return self.part_ms(spec, x), 1.0, float(weights), self.refill_ms(spec, x)

    def refill_ms(self, spec: Spec, x: FeatureType) -> float:
        """What one part takes more in milliseconds with an empty cache, measured or interpolated.

        Raises:
            LatencyError: as `part_ms`.
        """
        block = self.blocks.get((spec, x))
        if block is not None:
            return block.refill_ms
        if math.isinf(self.part_ms(spec, x)):
            return math.inf
        if (spec, x) not in self._refills:
            self._refills[spec, x] = self._refill_interpolator.predict([(spec, x)])[0]
        return self._refills[spec, x]

    def sums(self, architectures: Sequence[Architecture]) -> Sums:
        """What the parts of the architectures add up to.

        Raises:
            LatencyError: parts that were neither measured nor can be interpolated.
        """
        self.expect(part for architecture in architectures for part in architecture.parts)
        rows = [np.sum([self.part_sums(p.spec, p.input) for p in a.parts], axis=0) for a in architectures]
        return sums_of(np.array(rows))

    def _failing(self, architecture: Architecture) -> list[Workload]:
        return [workload for workload in map(_workload, architecture.parts) if workload in self.failures]

    def _guess(self, workloads: Sequence[Workload]) -> None:
        interpolator = self.interpolator
        kinds = {type(spec) for spec, _ in self.blocks}
        lacking = [_shown(workload) for workload in workloads if interpolator is None or type(workload[0]) not in kinds]
        if lacking or interpolator is None:
            more = f" and {len(lacking) - 5} more" if len(lacking) > 5 else ""
            raise LatencyError(
                f"the latency table lacks {'; '.join(lacking[:5])}{more} ({len(self.blocks)} blocks measured; "
                f"interpolating takes {INTERPOLATE_FROM}, one of the same type among them): fill(parts) or "
                "ensure(architecture) measures them"
            )
        self._guesses.update(zip(workloads, interpolator.predict(workloads), strict=True))

    @property
    def interpolator(self) -> Interpolator | None:
        """What stands in for blocks that were not measured; None where too few were."""
        if self._interpolator is None and len(self.blocks) >= INTERPOLATE_FROM:
            self._interpolator = Interpolator(list(self.blocks), [block.ms for block in self.blocks.values()])
        return self._interpolator

    @cached_property
    def _refill_interpolator(self) -> Interpolator:
        return Interpolator(list(self.blocks), [block.refill_ms for block in self.blocks.values()])

    def _forget(self) -> None:
        """Drop what was derived from blocks and networks."""
        self._guesses, self._refills, self._interpolator, self._rule, self._report = {}, {}, None, None, None
        vars(self).pop("_refill_interpolator", None)

    # ----------------------------------------------------------------- files

    def save(self, path: str | Path) -> None:
        """Write the table as JSON, in one piece: a reader never sees half of it.

        Raises:
            StorageError: the disk is full or the folder cannot be written; the old file, if any, is kept.
        """
        found = Contents(self.profile, self.blocks_of, self.reference_ms, self.blocks, self.failures, self.nets)
        write(found, path)

    @staticmethod
    def load(path: str | Path, profile: Profile) -> LatencyTable:
        """Read a table of `profile`.

        Raises:
            LatencyError: unreadable, of another version, or of another profile.
            SpecError: it holds a block that is not registered.
        """
        found = read(path)
        profile.require(found.profile, f"latency table {path}")
        table = LatencyTable(profile)
        table.blocks_of, table.reference_ms = found.blocks_of, found.reference_ms
        table.blocks, table.failures, table.nets = found.blocks, found.failures, found.nets
        return table

    @staticmethod
    def borrowed(path: str | Path, profile: Profile) -> LatencyTable:
        """The blocks of a table, of whatever device, for predictions on `profile` after a `calibrate` there.

        About ten networks measured whole say how the second device differs; see docs/devices.md for the error.

        Raises:
            LatencyError: unreadable, of another version, or it holds no blocks.
            SpecError: it holds a block that is not registered.
        """
        lender = read(path)
        if not lender.blocks:
            raise LatencyError(f"latency table {path} holds no measured blocks to go by")
        return _lent(lender, profile)

    def lent_to(self, profile: Profile) -> LatencyTable:
        """A table of another profile with these blocks, not calibrated yet."""
        return _lent(self, profile)


def _lent(lender: LatencyTable | Contents, profile: Profile) -> LatencyTable:
    table = LatencyTable(profile)
    table.blocks, table.blocks_of, table.reference_ms = lender.blocks, lender.blocks_of, lender.reference_ms
    return table


def sums_of(rows: Array) -> Sums:
    """`Sums` from rows as `LatencyTable.part_sums` gives them, one a network."""
    return Sums(rows[:, 0], rows[:, 1], rows[:, 2], rows[:, 3:])


def _workload(part: Part | Workload) -> Workload:
    return (part.spec, part.input) if isinstance(part, Part) else part


def _shown(workload: Workload) -> str:
    spec, x = workload
    return f"{spec!r} on {x}"

"""Latency of whole networks from a table of the latencies of their parts.

table = LatencyTable(profile("local-cpu"))
table.fill(space.parts())
table.calibrate(space.sample(seed) for seed in range(200))
table.predict(architecture)  # Measurement(value=..., provenance="predicted", spread=...)
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from archfront.hw_profiles.metrics import Measurement
from archfront.space.architecture import Architecture
from archfront.space.network import Part
from archfront.space.serial import decode, encode
from archfront.space.spec import Spec
from archfront.space.types import FeatureType

from .calibration import Accuracy, Array, Rule, accuracy, best_rule, kendall, leave_one_out
from .interpolate import Interpolator, matrix, spread_order
from .profile import LatencyError, Profile
from .protocol import LatencyResult, Progress, Schedule, measure
from .runtimes import Overhead, Probe, Workload

SCHEMA = 2
FLOOR_MS = 1e-4
"""Least latency of a block: one that costs no more than calling the runtime."""

INTERPOLATE_FROM = 20
"""Blocks that must have been measured before others are interpolated."""

CALIBRATE_FROM = 4
"""Networks that must be measured whole for a calibration: the affine rule has two unknowns, and one is left out."""


class Block(NamedTuple):
    """A measured block: milliseconds without the price of calling the runtime, its interval's half-width (a share)."""

    ms: float
    width: float


class Net(NamedTuple):
    """A network measured whole: its latency in every process."""

    architecture: Architecture
    process_ms: tuple[float, ...]

    @property
    def ms(self) -> float:
        """Median over processes."""
        return float(np.median(self.process_ms))


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
        repeatability: mean deviation of a process from the median of all, as a share; the floor of any prediction.
        repeatability_tau: mean Kendall tau between two processes; NaN with one process.
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
        self.blocks: dict[Workload, Block] = {}
        self.failures: dict[Workload, str] = {}
        """Why the runtime cannot run these blocks, found out by `fill`."""
        self.nets: list[Net] = []
        self.reference_ms: float | None = None
        self._guesses: dict[Workload, float] = {}
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
            target=0.5, max_seconds=max_seconds / 2, processes=1, rounds=12, visit_ms=1.0, warm_ms=5.0, seed=seed
        )
        probed = {overhead: (Overhead(), Probe.INPUT), **named}
        results = measure(probed, self.profile, schedule, progress, max_seconds / 2, failed=failed)
        calling = results.pop(overhead).value_ms
        for name, result in results.items():
            level = result.health.reference_ms
            self.reference_ms = self.reference_ms or level
            ms = max(result.value_ms - calling, FLOOR_MS) * self.reference_ms / level
            self.blocks[named[name]] = Block(ms, result.width)
        self._forget()

    # ----------------------------------------------------------------- whole networks

    def calibrate(
        self,
        architectures: Iterable[Architecture],
        count: int = 12,
        schedule: Schedule | None = None,
        progress: Progress | None = None,
    ) -> Report:
        """Measure `count` of the architectures whole, chosen to spread table sum and depth, and fit the rule.

        Replaces the calibration before. Give a few hundred samples of the space to choose from; those that hold parts
        which the runtime cannot run are passed over.

        Raises:
            LatencyError: fewer than four different architectures, parts that the table cannot give, or as `measure`.
        """
        different = {architecture.digest: architecture for architecture in architectures}
        pool = [architecture for architecture in different.values() if not self._failing(architecture)]
        if min(count, len(pool)) < CALIBRATE_FROM:
            raise LatencyError(
                f"calibration needs at least {CALIBRATE_FROM} different architectures, got {min(count, len(pool))}"
            )
        self.expect(part for architecture in pool for part in architecture.parts)
        points = np.log([(self._sum(a), len(a.parts)) for a in pool])
        points = (points - points.mean(axis=0)) / np.maximum(points.std(axis=0), 1e-9)
        chosen = {f"{pool[i].digest}": pool[i] for i in spread_order(points, count)}
        return self.learn(measure(chosen, self.profile, schedule or Schedule(max_seconds=20.0), progress), chosen)

    def learn(self, results: dict[str, LatencyResult], architectures: dict[str, Architecture]) -> Report:
        """Take measurements of whole networks, by the same names, as the calibration.

        Raises:
            LatencyError: a result of another profile, or fewer than four.
        """
        if len(results) < CALIBRATE_FROM:
            raise LatencyError(f"calibration needs at least {CALIBRATE_FROM} measured networks, got {len(results)}")
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
            sums, parts, measured = self._training()
            loo = accuracy(leave_one_out(best_rule, sums, parts, measured), measured)
            interpolator = self.interpolator
            repeats = _repeatability([net.process_ms for net in self.nets])
            self._report = Report(loo, *repeats, interpolator.error if interpolator else None)
        return self._report

    def _training(self) -> tuple[Array, Array, Array]:
        if not self.nets:
            raise LatencyError("the latency table is not calibrated: calibrate(architectures) measures some whole")
        self.expect(part for net in self.nets for part in net.architecture.parts)
        sums = np.array([self._sum(net.architecture) for net in self.nets])
        parts = np.array([float(len(net.architecture.parts)) for net in self.nets])
        return sums, parts, np.array([net.ms for net in self.nets])

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
        total = self._sum(architecture)
        if not self.nets:
            return Measurement(total, "predicted", None, len(architecture.parts))
        value = float(self.rule(np.array([total]), np.array([float(len(architecture.parts))]))[0])
        guesses = [self._guesses[w] for w in map(_workload, architecture.parts) if w not in self.blocks]
        interpolated = math.hypot(*guesses) * self.interpolator.error if guesses and self.interpolator else 0.0
        error = math.hypot(value * self.report.left_out.rms, interpolated * value / total)
        return Measurement(value, "predicted", 1.96 * error, len(self.nets))

    @property
    def rule(self) -> Rule:
        """From sums of part latencies and numbers of parts to latencies of whole networks; increasing in the sum.

        Raises:
            LatencyError: not calibrated.
        """
        if self._rule is None:
            self._rule = best_rule(*self._training())
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

    def _sum(self, architecture: Architecture) -> float:
        self.expect(architecture.parts)
        return sum(self.part_ms(part.spec, part.input) for part in architecture.parts)

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

    def _forget(self) -> None:
        """Drop what was derived from blocks and networks."""
        self._guesses, self._interpolator, self._rule, self._report = {}, None, None, None

    # ----------------------------------------------------------------- files

    def save(self, path: str | Path) -> None:
        """Write the table as JSON, in one piece: a reader never sees half of it."""
        path = Path(path)
        data = {
            "schema": SCHEMA,
            "profile": self.profile.model_dump(),
            "reference_ms": self.reference_ms,
            "blocks": [
                {"spec": encode(spec), "input": x.to_dict(), **block._asdict()}
                for (spec, x), block in self.blocks.items()
            ],
            "failures": [
                {"spec": encode(spec), "input": x.to_dict(), "reason": reason}
                for (spec, x), reason in self.failures.items()
            ],
            "nets": [{"architecture": net.architecture.to_dict(), "process_ms": net.process_ms} for net in self.nets],
        }
        part = path.with_name(f"{path.name}.{os.getpid()}.part")
        try:
            part.write_text(json.dumps(data), encoding="utf-8")
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)

    @staticmethod
    def load(path: str | Path, profile: Profile) -> LatencyTable:
        """Read a table of `profile`.

        Raises:
            LatencyError: unreadable, of another version, or of another profile.
            SpecError: it holds a block that is not registered.
        """
        try:
            data = json.loads(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise LatencyError(f"cannot read latency table {path}: {error.strerror}") from None
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise LatencyError(
                f"latency table {path} is damaged ({error}); delete it and it is measured again"
            ) from None
        if not isinstance(data, dict) or data.get("schema") != SCHEMA:
            raise LatencyError(f"{path} is no latency table of schema {SCHEMA}; delete it and it is measured again")
        try:
            profile.require(Profile.from_dict(data["profile"], str(path)), f"latency table {path}")
            return _from_dict(data, profile)
        except (KeyError, TypeError) as error:
            raise LatencyError(
                f"latency table {path} is damaged ({error!r}); delete it and it is measured again"
            ) from None


def _from_dict(data: dict[str, Any], profile: Profile) -> LatencyTable:
    table = LatencyTable(profile)
    table.reference_ms = data["reference_ms"]
    for entry in data["blocks"]:
        spec: Spec = decode(entry["spec"], "spec")
        table.blocks[spec, FeatureType.from_dict(entry["input"])] = Block(float(entry["ms"]), float(entry["width"]))
    for entry in data["failures"]:
        spec = decode(entry["spec"], "spec")
        table.failures[spec, FeatureType.from_dict(entry["input"])] = str(entry["reason"])
    for entry in data["nets"]:
        table.nets.append(Net(Architecture.from_dict(entry["architecture"]), tuple(map(float, entry["process_ms"]))))
    return table


def _workload(part: Part | Workload) -> Workload:
    return (part.spec, part.input) if isinstance(part, Part) else part


def _shown(workload: Workload) -> str:
    spec, x = workload
    return f"{spec!r} on {x}"


def _repeatability(process_ms: Sequence[tuple[float, ...]]) -> tuple[float, float]:
    times = np.array(process_ms)  # (networks, processes)
    deviation = np.abs(times / np.median(times, axis=1, keepdims=True) - 1).mean()
    pairs = [(i, j) for i in range(times.shape[1]) for j in range(i)]
    taus = [kendall(times[:, i], times[:, j]) for i, j in pairs]
    return float(deviation), float(np.mean(taus)) if taus else math.nan

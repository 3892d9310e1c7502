"""Measuring latency: interleaved rounds in fresh processes, the best case of each, intervals, and a health gate.

Why this and not the mean of a loop: other work on the machine slows spells of time, not networks. In rounds of random
order a slow spell hits all alike, so models are compared inside rounds, or by the fastest of many short visits where that
is steadier (`intervals`). A process can be slower than the next for its whole life (memory placement), hence several of
them, and the median over them.
benchmarks/latency.py compares the two on the machine at hand.
"""

from __future__ import annotations

import math
import tempfile
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from archfront.hw_profiles.metrics import Measurement
from archfront.space.architecture import Architecture

from . import intervals, worker
from .profile import LatencyError, Profile
from .runtimes import RUNTIMES, Prepared, Probe, Reference, Workload
from .transport import Launch, Transport, at

REFERENCE = "(reference)"
"""Name of the reference network in a run."""

MINIMUM_ROUNDS = 3
NOISY_SPREAD, NOISY_DRIFT = 1.3, 0.05

DECIDED = 0.99
"""Confidence of the intervals that may end a measurement early."""

Progress = Callable[[int, int, str], None]
"""Called with steps done, steps in all, and what is being done."""

Failed = Callable[[str, LatencyError], None]
"""Called with the name of a candidate that cannot be measured, and why."""

Relevance = Callable[[Mapping[str, float]], Iterable[tuple[str, str]]]
"""From best-case latencies in milliseconds by name to the pairs of names whose order matters."""


@dataclass(frozen=True)
class Schedule:
    """How much is measured.

    Args:
        target: half-width of the 95 % interval, as a share of the latency, at which measuring stops.
        max_seconds: of timing, preparing and loading the models not included; three rounds are always completed.
        processes: fresh processes at least; three times as many at most, where the target asks for them.
        rounds: visits of every model in a process.
        visit_ms: least duration of the timed runs of a visit.
        warm_ms: least warm-up of a model in a process.
        seed: of the random orders.
        evict: bytes copied before each of a few further runs, so that these find the cache empty; 0 for none.
    """

    target: float = 0.02
    max_seconds: float = 120.0
    processes: int = 3
    rounds: int = 24
    visit_ms: float = 2.0
    warm_ms: float = 50.0
    seed: int = 0
    evict: int = 0

    def __post_init__(self) -> None:
        for name in ("target", "max_seconds", "visit_ms"):
            if not getattr(self, name) > 0:
                raise LatencyError(f"{name} must be positive, got {getattr(self, name)!r}")
        if self.processes < 1 or self.rounds < MINIMUM_ROUNDS:
            raise LatencyError(f"measuring needs at least 1 process and {MINIMUM_ROUNDS} rounds, got "
                               f"{self.processes} and {self.rounds}")  # fmt: skip


# --------------------------------------------------------------------------- results


@dataclass(frozen=True)
class Health:
    """How steady the machine was during a run, judged by the reference network.

    Args:
        reference_ms: its latency.
        spread: its median run over its fastest, 1 on a perfectly quiet machine.
        drift: largest change of its fastest run from the first to the last third of a process, as a share.
    """

    reference_ms: float
    spread: float
    drift: float

    @property
    def noisy(self) -> bool:
        """Whether the run has to be taken with care."""
        return self.spread > NOISY_SPREAD or self.drift > NOISY_DRIFT


@dataclass(frozen=True)
class LatencyResult:
    """The latency of one workload on one profile, with every sample.

    Args:
        name: of the workload in its run.
        profile: digest of the profile.
        run: identifies the run; only workloads of one run are compared pairwise.
        value_ms: the latency: the best case of the models of the run, shared out by how they compare in the same rounds.
        process_ms: the same in every process alone.
        samples: nanoseconds of each run, by process, round and run.
        contention: share of visits during which something else ran on this core (wall time above 1.05 CPU time).
        width: half-width of the 95 % interval as a share of `value_ms`.
        target: the width that was asked for.
        health: of the run.
        converter: what wrote the model for the runtime.
        cold: nanoseconds of the runs out of an empty cache, by process; empty where the schedule asked for none.
        cold_process_ms: as `process_ms`, of these.
    """

    name: str
    profile: str
    run: str
    value_ms: float
    process_ms: tuple[float, ...]
    samples: tuple[tuple[tuple[int, ...], ...], ...] = field(repr=False)
    contention: float
    width: float
    target: float
    health: Health
    converter: str
    cold: tuple[tuple[int, ...], ...] = field(default=(), repr=False)
    cold_process_ms: tuple[float, ...] = ()

    @cached_property
    def minima(self) -> list[intervals.Array]:
        """For every process, the fastest run of each visit in milliseconds, shape (rounds,)."""
        return [np.array([min(visit) / 1e6 for visit in process]) for process in self.samples]

    @property
    def interval_ms(self) -> tuple[float, float]:
        """The 95 % interval around `value_ms`."""
        return self.value_ms * math.exp(-self.width), self.value_ms * math.exp(self.width)

    @property
    def resolved(self) -> bool:
        """Whether the interval is as narrow as was asked for."""
        return self.width <= self.target

    @property
    def noisy(self) -> bool:
        """Whether the health gate marked the run."""
        return self.health.noisy

    @cached_property
    def _all(self) -> intervals.Array:
        return np.array([ns / 1e6 for process in self.samples for visit in process for ns in visit])

    @property
    def count(self) -> int:
        """How many runs were timed."""
        return len(self._all)

    def percentile(self, percent: float) -> float:
        """A percentile of all runs in milliseconds: 50, 90 and 99 say what the machine's other work makes of it."""
        return float(np.percentile(self._all, percent))

    def measurement(self) -> Measurement:
        """The ranking value with half its interval."""
        return Measurement(self.value_ms, "measured", self.value_ms * math.expm1(self.width), self.count)


@dataclass(frozen=True)
class Comparison:
    """How two workloads of one run compare: `a` takes `ratio` times as long as `b`, 95 % interval [low, high]."""

    ratio: float
    low: float
    high: float

    @property
    def tie(self) -> bool:
        """Whether the interval leaves open which one is faster."""
        return self.low <= 1.0 <= self.high


def neighbours(latencies: Mapping[str, float]) -> list[tuple[str, str]]:
    """The pairs that follow each other in order of latency: once these are decided, so is the whole ranking."""
    order = sorted(latencies, key=latencies.__getitem__)
    return list(pairwise(order))


def ties(results: Mapping[str, LatencyResult], relevance: Relevance = neighbours) -> list[tuple[str, str]]:
    """The pairs, of those that matter, of which the measurement does not say which one is faster."""
    pairs = relevance({name: result.value_ms for name, result in results.items()})
    return [(a, b) for a, b in pairs if compare(results[a], results[b]).tie]


def compare(a: LatencyResult, b: LatencyResult, seed: int = 0) -> Comparison:
    """The paired ratio of two workloads that were timed in the same rounds.

    Raises:
        LatencyError: they come from different profiles or runs.
    """
    if a.profile != b.profile:
        raise LatencyError(f"{a.name} and {b.name} were measured on different profiles ({a.profile}, {b.profile})")
    if a.run != b.run:
        raise LatencyError(f"{a.name} and {b.name} were measured in different runs; pairs need one run of both")
    return Comparison(*intervals.paired_ratio(a.minima, b.minima, seed))


# --------------------------------------------------------------------------- running


def measure(
    candidates: Mapping[str, Workload | Architecture],
    profile: Profile,
    schedule: Schedule | None = None,
    progress: Progress | None = None,
    prepare_seconds: float = math.inf,
    relevance: Relevance | None = None,
    failed: Failed | None = None,
    device: Transport | None = None,
) -> dict[str, LatencyResult]:
    """Measure all candidates against each other on the device of the profile, which may be remote.

    Candidates are specs, not modules: latency does not depend on weights, and fresh processes need no pickled code.

    Args:
        candidates: by name, an architecture or a spec with its input type.
        profile: of the device.
        schedule: how much is measured.
        progress: told about every model prepared and every process run.
        prepare_seconds: candidates that are not prepared after this long are left out.
        relevance: the pairs whose order matters; measuring also stops once all of them are decided. `ties` names the
            pairs that were left undecided.
        failed: told about candidates that cannot be converted or compute something else than in torch, which are left
            out then; without it they are an error.
        device: the way to the device, by default the one that the profile names.

    Returns:
        A result for every candidate that was prepared in time, in the order given.

    Raises:
        LatencyError: the profile is another device's, the device cannot be reached, a candidate cannot be converted or
            computes something else than in torch, or a process failed or took far too long (with the end of what it
            printed).
    """
    schedule = schedule or Schedule()
    device = at(profile, device)
    if not candidates:
        return {}
    if REFERENCE in candidates:
        raise LatencyError(f"{REFERENCE!r} is the name of the reference network; call the candidate something else")
    with tempfile.TemporaryDirectory(prefix="archfront-latency-") as name:
        folder = Path(name)
        workloads = {REFERENCE: (Reference(), Probe.INPUT), **candidates}
        prepared = prepare(workloads, profile, folder, progress, prepare_seconds, failed)
        if len(prepared) == 1:
            return {}
        with device.launcher(prepared, profile, folder) as launch:
            processes = collect(_told(launch, progress, schedule, len(prepared) - 1), schedule, relevance=relevance)
    return summarise(processes, profile, schedule, {name: p.converter for name, p in prepared.items()})


def _told(launch: Launch, progress: Progress | None, schedule: Schedule, models: int) -> Launch:
    """`launch`, with `progress` told before each process."""
    done = 0

    def step(plan: worker.Plan | worker.Endurance) -> Mapping[str, Any]:
        nonlocal done
        if progress:
            progress(done, max(schedule.processes, done + 1), f"timing {models} model{'s' if models > 1 else ''}")
        done += 1
        return launch(plan)

    return step


def prepare(
    candidates: Mapping[str, Workload | Architecture],
    profile: Profile,
    folder: Path,
    progress: Progress | None = None,
    max_seconds: float = math.inf,
    failed: Failed | None = None,
) -> dict[str, Prepared]:
    """Convert and verify candidates before anything is timed, two at least; files go into `folder`."""
    runtime, start = RUNTIMES[profile.runtime], time.monotonic()
    prepared: dict[str, Prepared] = {}
    for index, (name, candidate) in enumerate(candidates.items()):
        if len(prepared) > 1 and time.monotonic() - start > max_seconds:
            break
        if progress:
            progress(index, len(candidates), f"preparing {name}")
        workload = (candidate.network, candidate.input) if isinstance(candidate, Architecture) else candidate
        try:
            prepared[name] = runtime.prepare(name, workload, profile, folder)
        except LatencyError as error:
            if failed is None or name == REFERENCE:
                raise
            failed(name, error)
    return prepared


def collect(
    launch: Launch,
    schedule: Schedule,
    now: Callable[[], float] = time.monotonic,
    relevance: Relevance | None = None,
) -> list[Mapping[str, Any]]:
    """Run processes until what was asked is known, time is up, or there are three times as many as asked for.

    Known is every interval being narrow, or every pair that matters being decided.
    """
    start, processes = now(), list[Mapping[str, Any]]()
    while True:
        begin = now()
        left = schedule.max_seconds - (begin - start)
        seconds = max(left / max(1, schedule.processes - len(processes)), 0.0)
        seed = schedule.seed + 1000 * len(processes)
        plan = worker.Plan(
            schedule.rounds, schedule.visit_ms, schedule.warm_ms, seconds, seed, MINIMUM_ROUNDS, evict=schedule.evict
        )
        processes.append(launch(plan))
        if len(processes) < schedule.processes:
            continue
        names, blocks = _visit_minima(processes)
        estimator = intervals.steadiest(intervals.LATENCY, blocks, schedule.seed)
        narrow = intervals.half_width(estimator, blocks, schedule.seed).max() <= schedule.target
        another = now() - start + (now() - begin) <= schedule.max_seconds
        enough = narrow or (relevance is not None and decided(names, blocks, relevance, schedule.seed))
        if enough or len(processes) >= 3 * schedule.processes or not another:
            return processes


def decided(names: Sequence[str], blocks: Sequence[intervals.Array], relevance: Relevance, seed: int) -> bool:
    """Whether the intervals of the paired ratios of all pairs that matter leave out 1.

    They are wider than those that are reported: who looks after every process and stops as soon as an interval leaves
    out 1 sees 95 % intervals of two equal models do so in 13 % of runs, `benchmarks/coverage.py` found.

    Args:
        names: of the models; the reference network has no part in this.
        blocks: for every process, the fastest run of each visit, shape (rounds, models).
        relevance: names the pairs.
        seed: of the bootstrap.
    """
    column = {name: index for index, name in enumerate(names) if name != REFERENCE}
    best = np.exp(intervals.steadiest(intervals.LATENCY, blocks, seed)(blocks))
    for a, b in relevance({name: float(best[index]) / 1e6 for name, index in column.items()}):
        first, second = ([block[:, column[name]] for block in blocks] for name in (a, b))
        if Comparison(*intervals.paired_ratio(first, second, seed, DECIDED)).tie:
            return False
    return True


def _visit_minima(
    processes: Sequence[Mapping[str, Any]], runs: str = "wall"
) -> tuple[list[str], list[intervals.Array]]:
    """Names, and for every process the fastest of the runs of a kind in each visit, shape (rounds, models)."""
    names = sorted(processes[0]["rounds"][0])
    return names, [
        np.array([[min(visits[name][runs]) for name in names] for visits in process["rounds"]], dtype=float)
        for process in processes
    ]


def _process_ms(
    estimator: intervals.Estimator, names: Sequence[str], blocks: Sequence[intervals.Array]
) -> dict[str, tuple[float, ...]]:
    """The latency of every model in every process by itself, in milliseconds."""
    found = np.stack([estimator.of_process(np.log(block)) for block in blocks], axis=1)
    each = np.exp(found[:-1] + found[-1]) / 1e6
    return {name: tuple(row) for name, row in zip(names, each.tolist(), strict=True)}


def summarise(
    processes: Sequence[Mapping[str, Any]], profile: Profile, schedule: Schedule, converters: Mapping[str, str]
) -> dict[str, LatencyResult]:
    """The results of a run from what its processes returned; `converters` names the candidates, in order."""
    names, blocks = _visit_minima(processes)
    estimator = intervals.steadiest(intervals.LATENCY, blocks, schedule.seed)
    best = dict(zip(names, np.exp(estimator(blocks)) / 1e6, strict=True))
    widths = dict(zip(names, intervals.half_width(estimator, blocks, schedule.seed), strict=True))
    warm = _process_ms(estimator, names, blocks)
    cold = _process_ms(estimator, *_visit_minima(processes, "cold")) if schedule.evict else {}
    health, run = _health(processes, float(best[REFERENCE])), uuid.uuid4().hex
    results = {}
    for name, converter in converters.items():
        visits = [[visit[name] for visit in process["rounds"]] for process in processes]
        everything = [visit for process in visits for visit in process]
        results[name] = LatencyResult(
            name=name,
            profile=profile.digest,
            run=run,
            value_ms=float(best[name]),
            process_ms=warm[name],
            samples=tuple(tuple(tuple(visit["wall"]) for visit in process) for process in visits),
            contention=sum(sum(visit["wall"]) > 1.05 * visit["cpu"] for visit in everything) / len(everything),
            width=float(widths[name]),
            target=schedule.target,
            health=health,
            converter=converter,
            cold=tuple(tuple(ns for visit in process for ns in visit["cold"]) for process in visits)
            if schedule.evict
            else (),
            cold_process_ms=cold.get(name, ()),
        )
    results.pop(REFERENCE, None)
    return results


def _health(processes: Sequence[Mapping[str, Any]], reference_ms: float) -> Health:
    fastest, runs, drift = math.inf, list[int](), 0.0
    for process in processes:
        visits = [visit[REFERENCE]["wall"] for visit in process["rounds"]]
        third = -(-len(visits) // 3)
        first, last = (min(map(min, part)) for part in (visits[:third], visits[-third:]))
        drift = max(drift, abs(last / first - 1))
        fastest = min(fastest, *map(min, visits))
        runs.extend(ns for visit in visits for ns in visit)
    return Health(reference_ms, float(np.median(runs)) / fastest, drift)

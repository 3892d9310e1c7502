"""What limits a search on many workers: a simulation of the driver and up to 1,000 workers, with times measured here.

    python benchmarks/scale.py [--quick] [--seed N] [--json FILE]

Measured: proposing and storing a candidate (20 % budget, the default storage), what a call to a worker and a candidate in
it cost the driver and how long an empty call takes (a Ray cluster on this machine), rating a candidate with a supernet
(digits), and taking back a piece of a training. The simulation makes the steps of the search's loop with them: one
driver, `workers * ahead` candidates under way, outcomes collected in the order of submission.

What other work on the machine would falsify is kept out: what computes (proposing, storing, calls, rating) is taken in
processor time; what waits for the disk or the network (a trial that has to be on disk, the way there and back,
checkpoints), in the lower decile of the clock.
"""

from __future__ import annotations

import heapq
import os
import tempfile
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from _common import Figures, Run, main
from machinery import outcome_of, proposer_of
from numpy.typing import NDArray

from archfront.evaluators.accuracy import SupernetAccuracy
from archfront.evaluators.data import load_data
from archfront.evaluators.supernet import Supernet
from archfront.evaluators.task import Classification
from archfront.hw_profiles.metrics import Measurement
from archfront.search.cluster.backend import CALL, SHORT, RayBackend
from archfront.search.cluster.connection import connect
from archfront.search.cluster.trainings import PIECE
from archfront.search.config import StudyConfig
from archfront.space.architecture import Architecture
from archfront.space.files import write_bytes
from archfront.space.presets import PRESETS
from archfront.space.space import Space

WORKERS = (1, 10, 100, 300, 1000)
AHEAD, MANY = 2, 16
"""Candidates under way for every worker: the default, and so many that short ones travel together."""

SAMPLERS = ("random", "nsga2", "surrogate")

PER_WORKER = 60
"""Candidates of a simulated search for every worker, so that its begin and end count for little."""


@dataclass(frozen=True)
class Costs:
    """Seconds of the driver, and of the way to a worker and back.

    Args:
        propose: a candidate.
        store: its trial.
        call: sending a call and taking its answer.
        candidate: each candidate in a call, besides.
        trip: from sending an empty call to its answer, as a worker sees nothing of it.
    """

    propose: float
    store: float
    call: float
    candidate: float
    trip: float

    @property
    def each(self) -> float:
        """What a candidate costs the driver when every call carries one."""
        return self.propose + self.store + self.call + self.candidate


# ---------------------------------------------------------------------- simulation


class Simulation(NamedTuple):
    """How a simulated search went: candidates a second, and the shares of time in which somebody worked."""

    rate: float
    workers: float
    driver: float


class Simulated:
    """The loop of `Exploration.run` with a `RayBackend`, on a clock of its own.

    Args:
        workers: how many.
        costs: of everything but evaluating.
        evaluation: seconds of candidates, to draw from.
        ahead: candidates under way for every worker.
    """

    def __init__(self, workers: int, costs: Costs, evaluation: NDArray[np.float64], ahead: int, seed: int) -> None:
        self.costs = costs
        self.seconds = evaluation
        self.window = workers * ahead
        typical = float(evaluation.mean())
        self.at_once = max(1, min(int(CALL / typical), ahead // 2))
        self.slots = deque(range(workers))
        if typical < SHORT:  # a second call waits at the worker
            self.slots.extend(range(workers))
        self.count = workers
        self.free_at = [0.0] * workers
        self.rng = np.random.default_rng(seed)
        self.now = self.idle = self.worked = 0.0
        self.waiting: deque[int] = deque()
        self.answers: list[tuple[float, int, list[int]]] = []
        self.done: set[int] = set()

    def run(self, candidates: int) -> Simulation:
        """Evaluate so many candidates."""
        proposed = collected = 0
        while collected < candidates:
            while proposed < min(candidates, collected + self.window):
                self.now += self.costs.propose
                self.waiting.append(proposed)
                proposed += 1
                self._hand_out()
            while collected not in self.done:
                self._take()
            self.done.remove(collected)
            collected += 1
            self.now += self.costs.store
        return Simulation(candidates / self.now, self.worked / (self.count * self.now), 1 - self.idle / self.now)

    def _hand_out(self) -> None:
        while self.waiting and self.slots:
            worker = self.slots.popleft()
            batch = [self.waiting.popleft() for _ in range(min(self.at_once, len(self.waiting)))]
            self.now += self.costs.call + self.costs.candidate * len(batch)
            spent = float(self.rng.choice(self.seconds, len(batch)).sum())
            start = max(self.now + self.costs.trip / 2, self.free_at[worker])
            self.free_at[worker] = start + spent
            self.worked += spent
            heapq.heappush(self.answers, (start + spent + self.costs.trip / 2, worker, batch))

    def _take(self) -> None:
        when, worker, batch = heapq.heappop(self.answers)
        self.idle += max(0.0, when - self.now)
        self.now = max(self.now, when)
        self.done.update(batch)
        self.slots.append(worker)
        self._hand_out()


def bottleneck(outcome: Simulation) -> str:
    """What there is too little of; "order": everybody waits for a slow candidate that was proposed early."""
    if outcome.driver > 0.8:
        return "driver"
    return "workers" if outcome.workers > 0.8 else "order"


# ---------------------------------------------------------------------- measurement


def machinery(run: Run, space: Space, sampler: str) -> dict[str, float]:
    """Seconds of proposing and storing a candidate, once the sampler has learnt from some."""
    warm, count = (30, 30) if run.quick else (200, 800)
    propose = store = 0.0
    with tempfile.TemporaryDirectory() as folder:
        proposer = proposer_of(space, Path(folder) / "study.journal", sampler, run.seed)
        for number in range(warm + count):
            start = time.process_time()
            proposal = proposer.next()
            if proposal is None:
                raise SystemExit("the space is exhausted")
            propose += (time.process_time() - start) * (number >= warm)
            outcome = outcome_of(proposal.architecture)
            start = time.process_time()
            proposer.record(proposal.architecture, outcome)
            store += (time.process_time() - start) * (number >= warm)
        return {"propose": propose / count, "store": store / count + disk(Path(folder) / "disk")}


def disk(file: Path) -> float:
    """Seconds until the two kilobytes of a trial are on disk."""
    times = []
    with file.open("ab") as opened:
        for _ in range(200):
            start = time.perf_counter()
            opened.write(bytes(2000))
            opened.flush()
            os.fsync(opened.fileno())
            times.append(time.perf_counter() - start)
    return lower_decile(times)


class Nothing:
    """An evaluator that takes no time."""

    metrics = ("supernet_accuracy",)

    def evaluate(self, architecture: Architecture) -> dict[str, Measurement]:
        """A constant."""
        return {"supernet_accuracy": Measurement(0.5, "measured", 0.01, 1000)}


def transport(run: Run, space: Space) -> dict[str, float]:
    """Seconds of the driver's processor a call and a candidate, and of the clock for a candidate all alone."""
    count = 200 if run.quick else 2000
    architectures = [space.sample(seed) for seed in range(count)]
    with connect("", 1) as cluster:

        def spent(ahead: int) -> tuple[float, float]:
            backend = RayBackend(cluster, Nothing(), space, lambda architecture: {}, workers=1, ahead=ahead)
            through(backend, architectures[:50])
            begin, times = time.process_time(), []
            for start in range(0, count, ahead):
                clock = time.perf_counter()
                through(backend, architectures[start : start + ahead])
                times.append(time.perf_counter() - clock)
            processor = time.process_time() - begin
            backend.close()
            return lower_decile(times), processor / count

        trip, alone = spent(1)  # one candidate a call, one call at a time
        _, together = spent(MANY)
    candidate = max(0.0, (MANY // 2 * together - alone) / (MANY // 2 - 1))
    return {"call": alone - candidate, "candidate": candidate, "trip": trip}


def through(backend: RayBackend, architectures: list[Architecture]) -> None:
    """Evaluate some candidates."""
    waiting = deque(architectures)
    while waiting or backend.busy:
        while waiting and backend.room:
            backend.submit(waiting.popleft())
        backend.collect()


def rating(run: Run) -> NDArray[np.float64]:
    """Seconds of rating candidates with a supernet on digits."""
    data = load_data("digits")
    space = PRESETS["micro"].make(data.input, len(data.classes))
    rated = SupernetAccuracy(Supernet(space), data, Classification(len(data.classes)))
    seconds = []
    for seed in range(15 if run.quick else 120):
        start = time.process_time()
        rated.evaluate(space.sample(seed))
        seconds.append(time.process_time() - start)
    return np.array(seconds[5:])


def piece(megabytes: float) -> float:
    """Seconds in which the driver takes back a checkpoint of this size and sends it on."""
    data = np.random.default_rng(0).bytes(int(megabytes * 1e6))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "checkpoint"
        times = []
        for _ in range(11):
            start = time.perf_counter()
            write_bytes(file, data)
            _ = file.read_bytes()
            times.append(time.perf_counter() - start)
    return lower_decile(times)


def lower_decile(seconds: Sequence[float]) -> float:
    """What a tenth of these stays below."""
    return float(np.quantile(seconds, 0.1))


# ---------------------------------------------------------------------- figures


def simulate(
    run: Run, costs: Costs, evaluations: Mapping[str, tuple[NDArray[np.float64], int]]
) -> list[dict[str, Any]]:
    """One row a kind of evaluation, given as (seconds, candidates under way for every worker), and number of workers."""
    rows = []
    for name, (seconds, ahead) in evaluations.items():
        for workers in WORKERS[::2] if run.quick else WORKERS:
            candidates = max(1000, (PER_WORKER // 10 if run.quick else PER_WORKER) * workers)
            found = Simulated(workers, costs, seconds, ahead, run.seed).run(candidates)
            rows.append(
                {
                    "evaluation": name,
                    "workers": workers,
                    "candidates/s": found.rate,
                    "workers busy": f"{found.workers:.0%}",
                    "driver busy": f"{found.driver:.0%}",
                    "limited by": bottleneck(found),
                }
            )
    return rows


def measure(run: Run) -> Figures:
    """Measure the parts, then simulate."""
    data = load_data("digits")
    space = PRESETS["micro"].make(data.input, len(data.classes))
    made = {sampler: machinery(run, space, sampler) for sampler in SAMPLERS}
    sent = transport(run, space)
    costs = Costs(**made[StudyConfig().search.sampler], **sent)
    rated = rating(run)
    shape = rated / rated.mean()
    stragglers = np.concatenate([np.tile(shape, 49), 3 * shape])  # one in 50 takes three times as long
    evaluations = {
        "5 ms, one a call": (0.005 * shape, AHEAD),
        "5 ms, four a call": (0.005 * shape, MANY),
        f"{rated.mean() * 1e3:.0f} ms (digits)": (rated, AHEAD),
        "1 s": (shape, AHEAD),
        "10 s": (10 * shape, AHEAD),
        "10 s, stragglers": (10 * stragglers, AHEAD),
        "10 s, stragglers, twice as many ahead": (10 * stragglers, 2 * AHEAD),
        "60 s": (60 * shape, AHEAD),
    }
    return {
        **{f"{name} ms": 1e3 * value for name, value in vars(costs).items()},
        "driver ms a candidate": 1e3 * costs.each,
        "slowest rating over the mean": float(shape.max()),
        "checkpoints come back every, s": PIECE,
        "samplers": [
            {"sampler": name, "propose ms": 1e3 * own["propose"], "most candidates/s": 1 / Costs(**own, **sent).each}
            for name, own in made.items()
        ],
        "simulated": simulate(run, costs, evaluations),
        "trainings": [trainings(size, costs.call) for size in (1, 10, 100)],
    }


def trainings(megabytes: int, call: float) -> dict[str, Any]:
    """How many trainings one driver serves, by the size of their checkpoints."""
    seconds = piece(megabytes) + call
    return {"checkpoint MB": megabytes, "driver ms a piece": 1e3 * seconds, "trainings at a time": int(PIECE / seconds)}


if __name__ == "__main__":
    main("scale", "what limits a search on up to 1,000 workers, simulated with times measured here", measure)

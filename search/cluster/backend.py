"""Candidates on a Ray cluster: workers that stay, candidates that outlive them."""

from __future__ import annotations

import importlib.metadata
import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch

from archfront.evaluators.accuracy import Evaluator
from archfront.space.architecture import Architecture
from archfront.space.space import Space

from ..evaluation import Backend, Evaluate, Outcome, attempt
from .connection import Cluster, ClusterError
from .shipping import Shipment, ship

DEATHS = 3
"""Worker processes that may die under a candidate before it is given up."""

SHORT = 1.0
"""Seconds of evaluation below which a worker is sent its next candidate before it is done with one."""

CALL = 0.02
"""Seconds of evaluation below which several candidates go into one call."""

TURN = 1.0
"""Seconds after which the cluster is looked at again when nothing happens."""

STARTS = 3
"""Times in a row that workers may die while they start; an error there is one too many."""

PAUSE = 2.0
"""Seconds before workers are started again after one could not; twice as many each time."""

DROUGHT = 30.0
"""Seconds without any worker after which that is said."""


class Place(NamedTuple):
    """Where a worker is, and what it runs."""

    node: str
    process: int
    archfront: str
    torch: str


class Worker:
    """A process on a node of the cluster that evaluates one candidate after the other, with one thread."""

    def __init__(self, shipment: Shipment) -> None:
        torch.set_num_threads(1)
        self.evaluator: Evaluator = shipment.open()

    def place(self) -> Place:
        """Where this is."""
        import ray

        node = ray.get_runtime_context().get_node_id()
        return Place(node, os.getpid(), importlib.metadata.version("archfront"), torch.__version__)

    def evaluate(self, architectures: Sequence[dict[str, Any]]) -> list[Outcome]:
        """What becomes of candidates, given as plain data."""
        return [attempt(self.evaluator.evaluate, Architecture.from_dict(data)) for data in architectures]


@dataclass
class Job:
    """A candidate under way.

    Args:
        number: in the order of submission.
        architecture: the candidate.
        cheap: what was found out about it here.
        deaths: of workers that had it in hand.
    """

    number: int
    architecture: Architecture
    cheap: Outcome
    deaths: int = 0


@dataclass(eq=False)
class Hand:
    """A worker as it is seen from here.

    Args:
        actor: its handle.
        place: where it is; None until it has started.
        calls: what it was sent and has not answered, in order.
    """

    actor: Any
    place: Place | None = None
    calls: dict[Any, list[Job]] = field(default_factory=dict)


class RayBackend(Backend):
    """Evaluates candidates on the CPUs of a Ray cluster.

    One worker process a CPU holds the evaluator and is used for all candidates. What is cheap is found out here. Outcomes
    are collected in the order of submission, so which candidates a sampler knows when it proposes the next one depends
    on `window` alone, not on who was faster: the trials of a search are the same in every run, and the same as those of
    `Local` with that window.

    A candidate whose worker dies goes to another worker, `DEATHS` times at most. Workers that died are replaced, where
    the cluster has CPUs left; without a number of workers, nodes that join are used, and those that leave forgotten.

    Args:
        cluster: where.
        evaluator: what the workers do; sent once to every node.
        space: that candidates come from; its blocks are made known to the workers.
        cheap: what is found out about a candidate before it is sent.
        workers: how many; by default one a CPU of the cluster, as it grows and shrinks.
        ahead: candidates under way for every worker.
        gpus: share of a GPU that a worker holds; it then evaluates there.
        note: told what somebody may want to know.
    """

    def __init__(
        self,
        cluster: Cluster,
        evaluator: Evaluator,
        space: Space,
        cheap: Evaluate,
        *,
        workers: int | None = None,
        ahead: int = 2,
        gpus: float = 0.0,
        note: Callable[[str], None] = lambda text: None,
    ) -> None:
        import ray

        self._cluster = cluster
        self._cheap = cheap
        self._wanted = workers
        self._ahead = ahead
        self._note = note
        self._shipment = ship(evaluator, space)
        self._hire = ray.remote(num_cpus=1, num_gpus=gpus, max_restarts=0, scheduling_strategy="SPREAD")(Worker).remote
        self._crew: list[Hand] = []
        self._target = workers or max(1, cluster.cpus)
        self._starting: dict[Any, Hand] = {}
        self._calls: dict[Any, Hand] = {}
        self._waiting: deque[Job] = deque()
        self._done: dict[int, tuple[Architecture, Outcome]] = {}
        self._submitted = self._collected = 0
        self._typical: float | None = None
        self._stumbles, self._not_before, self._looked = 0, 0.0, 0.0
        self._last_staffed, self._told = time.monotonic(), False

    @property
    def window(self) -> int:
        """Candidates that may be under way at a time."""
        return self._ahead * self._target

    @property
    def room(self) -> int:
        return self.window - (self._submitted - self._collected)

    @property
    def busy(self) -> bool:
        return self._submitted > self._collected

    @property
    def places(self) -> list[Place]:
        """Where the workers are that have started."""
        return [hand.place for hand in self._crew if hand.place is not None]

    def submit(self, architecture: Architecture) -> None:
        job = Job(self._submitted, architecture, attempt(self._cheap, architecture))
        self._submitted += 1
        if job.cheap.reason:
            self._done[job.number] = architecture, job.cheap
        else:
            self._waiting.append(job)
            self._hand_out()

    def collect(self) -> list[tuple[Architecture, Outcome]]:
        """Wait for the candidate that was submitted first.

        Raises:
            ClusterError: no worker can start.
            StorageError: of a worker: what it was to write could not be.
        """
        while self._collected not in self._done:
            self._turn()
        self._collected += 1
        return [self._done.pop(self._collected - 1)]

    def close(self) -> None:
        for hand in list(self._crew):
            self._dismiss(hand)

    # ----------------------------------------------------------------- one thing after the other

    def _turn(self) -> None:
        """Start workers, give them candidates, and take whatever is answered first."""
        import ray

        self._look()
        self._staff()
        self._hand_out()
        expected = [*self._calls, *self._starting]
        if not expected:
            time.sleep(min(TURN, max(0.0, self._not_before - time.monotonic())))
            return
        answered, _ = ray.wait(expected, num_returns=1, timeout=TURN)
        for reference in answered:
            self._take(reference)

    def _take(self, reference: Any) -> None:
        import ray

        hand = self._calls.get(reference) or self._starting[reference]
        try:
            found = ray.get(reference)
        except ray.exceptions.RayTaskError as error:
            raise error.cause from None  # what went wrong is no fault of the candidate, or it would be its reason
        except ray.exceptions.RayError as error:
            self._lose(hand, error)
            return
        if reference in self._starting:
            del self._starting[reference]
            self._welcome(hand, found)
        else:
            del self._calls[reference]
            for job, outcome in zip(hand.calls.pop(reference), found, strict=True):
                self._typical = 0.8 * (self._typical or outcome.seconds) + 0.2 * outcome.seconds
                self._finish(job, outcome)

    def _finish(self, job: Job, outcome: Outcome) -> None:
        found = {} if outcome.reason else {**job.cheap.measurements, **outcome.measurements}
        seconds = job.cheap.seconds + outcome.seconds
        self._done[job.number] = job.architecture, Outcome(found, outcome.reason, seconds)

    # ----------------------------------------------------------------- candidates

    def _hand_out(self) -> None:
        """Send what waits to the workers that have least to do."""
        depth = 2 if self._typical is not None and self._typical < SHORT else 1
        while self._waiting:
            suspect = self._waiting[0].deaths > 0
            free = [hand for hand in self._crew if hand.place and len(hand.calls) < (1 if suspect else depth)]
            free = [hand for hand in free if not any(job.deaths for jobs in hand.calls.values() for job in jobs)]
            if not free:
                return
            self._send(min(free, key=lambda hand: len(hand.calls)), 1 if suspect else self._at_once())

    def _at_once(self) -> int:
        """How many candidates a call takes: so many that it is worth a call, if that leaves a call to follow it."""
        short = int(CALL / max(self._typical, 1e-6)) if self._typical is not None else 1
        return max(1, min(short, self._ahead // 2))

    def _send(self, hand: Hand, count: int) -> None:
        jobs = [self._waiting.popleft()]
        while len(jobs) < count and self._waiting and not self._waiting[0].deaths:
            jobs.append(self._waiting.popleft())
        reference = hand.actor.evaluate.remote([job.architecture.to_dict() for job in jobs])
        hand.calls[reference] = jobs
        self._calls[reference] = hand

    # ----------------------------------------------------------------- workers

    def _look(self) -> None:
        """Find out how many workers the cluster has room for."""
        now = time.monotonic()
        if now - self._looked < TURN:
            return
        self._looked = now
        if self._wanted is None:
            self._target = max(1, self._cluster.cpus)
        if self.places:
            self._last_staffed, self._told = now, False
        elif now - self._last_staffed > DROUGHT and not self._told:
            self._told = True
            self._note(
                f"No worker for {DROUGHT:.0f} s: the cluster at {self._cluster.address} has no free CPU; waiting for one "
                "(ray status tells what it is doing)"
            )

    def _staff(self) -> None:
        if time.monotonic() < self._not_before:
            return
        while len(self._crew) < self._target:
            hand = Hand(self._hire(self._shipment))
            self._crew.append(hand)
            self._starting[hand.actor.place.remote()] = hand
        for hand in [hand for hand in self._crew if hand.place is None][: len(self._crew) - self._target]:
            self._dismiss(hand)

    def _welcome(self, hand: Hand, place: Place) -> None:
        here = importlib.metadata.version("archfront")
        if place.archfront != here:
            raise ClusterError(
                f"a node of the cluster has archfront {place.archfront}, this one {here}; install the same"
            )
        if place.torch != torch.__version__ and not any(place.torch == other.torch for other in self.places):
            self._note(
                f"A node has torch {place.torch}, this one {torch.__version__}: results may differ in the last digits"
            )
        hand.place = place
        self._stumbles = 0

    def _lose(self, hand: Hand, error: Exception) -> None:
        """A worker is no more: what it had in hand goes to others."""
        starting = hand.place is None
        calls = list(hand.calls.values())
        self._dismiss(hand)
        if starting:
            self._stumble(error)
        for job in calls[0] if calls else ():
            job.deaths += 1
        for job in reversed([job for jobs in calls for job in jobs]):
            if job.deaths < DEATHS:
                self._waiting.appendleft(job)
            else:
                reason = f"WorkerDied: {DEATHS} worker processes died while they evaluated it; the last: {_why(error)}"
                self._finish(job, Outcome({}, reason, 0.0))

    def _stumble(self, error: Exception) -> None:
        """A worker could not start. All that could not in one go, as when a node is lost, count once."""
        now = time.monotonic()
        if now < self._not_before:
            return
        self._not_before = now + PAUSE * 2 ** min(self._stumbles, 5)
        self._stumbles += 1
        hopeless = self._stumbles >= STARTS or getattr(error, "actor_init_failed", False)
        if hopeless and not self.places:
            raise ClusterError(f"no worker can start on the cluster at {self._cluster.address}: {_why(error)}")
        if self._stumbles == 1:
            self._note(f"A worker could not start: {_why(error)}")

    def _dismiss(self, hand: Hand) -> None:
        import ray

        self._crew.remove(hand)
        self._calls = {reference: other for reference, other in self._calls.items() if other is not hand}
        self._starting = {reference: other for reference, other in self._starting.items() if other is not hand}
        ray.kill(hand.actor)


def _why(error: Exception) -> str:
    """What happened, of all that Ray says about it."""
    if getattr(error, "actor_init_failed", False):
        return str(error).strip().splitlines()[-1].strip()  # the end of a traceback
    text = " ".join(str(error).split())
    for before in ("The actor died because ", "The actor is dead because ", "Worker exit detail: "):
        text = text.partition(before)[2] or text
    return text.partition(" Some common causes")[0].partition(" The actor never ran")[0].rstrip(".")

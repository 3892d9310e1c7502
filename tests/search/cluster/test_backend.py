"""Candidates on a cluster: the same results as here, whoever is killed meanwhile."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from archfront.evaluators.accuracy import Evaluator, SupernetAccuracy
from archfront.hw_profiles.cost import cost
from archfront.hw_profiles.metrics import Measurement
from archfront.search.cluster.backend import DEATHS, RayBackend
from archfront.search.cluster.connection import Cluster, ClusterError
from archfront.search.evaluation import Backend, Local, Outcome
from archfront.space.architecture import Architecture
from archfront.space.errors import ArchfrontError
from archfront.space.files import StorageError
from archfront.space.space import Space

from .conftest import drop

Act = Callable[[Architecture], None]
Outcomes = list[tuple[Architecture, Outcome]]


def exact(architecture: Architecture) -> dict[str, Measurement]:
    """What is cheap about a candidate."""
    return dict(cost(architecture).measurements())


def acting(act: Act) -> Evaluator:
    """An evaluator that does something to its process, and rates by the number of parameters.

    The class is made here so that it travels to workers by value: they do not have this file.
    """

    class Acting:
        metrics = ("supernet_accuracy",)

        def evaluate(self, architecture: Architecture) -> dict[str, Measurement]:
            act(architecture)
            return {"supernet_accuracy": Measurement(cost(architecture).params / 1e6, "measured", 0.0, 1)}

    return Acting()


def some(space: Space, count: int) -> list[Architecture]:
    """Different architectures."""
    found = dict.fromkeys(space.sample(seed) for seed in range(40 * count))
    assert len(found) >= count
    return list(found)[:count]


def outcomes(
    backend: Backend, architectures: Sequence[Architecture], after: Callable[[int], None] = lambda n: None
) -> Outcomes:
    """What becomes of candidates; `after` is told how many are done."""
    found: Outcomes = []
    waiting = list(architectures)
    while waiting or backend.busy:
        while waiting and backend.room:
            backend.submit(waiting.pop(0))
        found += backend.collect()
        after(len(found))
    return found


def without_seconds(found: Outcomes) -> list[tuple[Architecture, dict[str, Measurement], str]]:
    return [(architecture, dict(outcome.measurements), outcome.reason) for architecture, outcome in found]


def test_outcomes_are_those_of_this_process_to_the_last_bit_and_in_its_order(
    cluster: Cluster, rating: SupernetAccuracy, own_file: Path
) -> None:
    """With a block and a predicate from a file that is gone before any worker starts."""
    space = rating.supernet.space
    architectures = some(space, 16)
    assert any("Halves" in repr(architecture) for architecture in architectures)
    backend = RayBackend(cluster, rating, space, exact, workers=2)
    hidden = own_file.rename(own_file.with_suffix(".hidden"))
    try:
        remote = outcomes(backend, architectures)
        places = backend.places
    finally:
        backend.close()
        hidden.rename(own_file)
    here = outcomes(Local(lambda a: {**exact(a), **rating.evaluate(a)}), architectures)
    assert without_seconds(remote) == without_seconds(here)
    assert places and os.getpid() not in {place.process for place in places}


def test_a_failed_evaluation_has_the_reason_that_it_has_here(cluster: Cluster, rating: SupernetAccuracy) -> None:
    space = rating.supernet.space
    architectures = some(space, 4)
    first, second, third, _ = (a.digest for a in architectures)

    def act(architecture: Architecture) -> None:
        if architecture.digest == first:
            raise RuntimeError("out of imaginary memory")
        if architecture.digest == second:
            raise ArchfrontError("this block\nwas never meant to work")
        if architecture.digest == third:
            raise ZeroDivisionError

    evaluator = acting(act)
    backend = RayBackend(cluster, evaluator, space, exact, workers=1)
    remote = outcomes(backend, architectures)
    backend.close()
    here = outcomes(Local(lambda a: {**exact(a), **evaluator.evaluate(a)}), architectures)
    assert without_seconds(remote) == without_seconds(here)
    assert [bool(outcome.reason) for _, outcome in remote] == [True, True, True, False]


def test_what_fails_before_it_is_sent_is_no_work_for_anybody(cluster: Cluster, rating: SupernetAccuracy) -> None:
    def refuse(architecture: Architecture) -> dict[str, Measurement]:
        raise ArchfrontError("no such operator")

    backend = RayBackend(cluster, rating, rating.supernet.space, refuse, workers=1)
    (found,) = outcomes(backend, some(rating.supernet.space, 1))
    assert found[1].reason == "ArchfrontError: no such operator"
    assert backend.places == []
    backend.close()


def test_a_full_disk_on_a_worker_ends_the_search(cluster: Cluster, rating: SupernetAccuracy) -> None:
    def act(architecture: Architecture) -> None:
        raise StorageError("no space left on device")

    backend = RayBackend(cluster, acting(act), rating.supernet.space, exact, workers=1)
    with pytest.raises(StorageError, match="no space left on device"):
        outcomes(backend, some(rating.supernet.space, 1))
    backend.close()


@pytest.mark.slow
def test_a_killed_worker_is_replaced_and_no_candidate_is_lost_or_doubled(
    cluster: Cluster, rating: SupernetAccuracy
) -> None:
    space = rating.supernet.space
    architectures = some(space, 30)
    backend = RayBackend(cluster, acting(lambda a: time.sleep(0.05)), space, exact, workers=2)
    killed: list[int] = []

    def kill(done: int) -> None:
        if done in (5, 15):
            killed.append(backend.places[0].process)
            os.kill(killed[-1], signal.SIGKILL)

    found = outcomes(backend, architectures, kill)
    assert [architecture for architecture, _ in found] == architectures
    assert all(not outcome.reason for _, outcome in found)
    assert len(killed) == 2
    assert not {place.process for place in backend.places} & set(killed)
    backend.close()


def test_a_candidate_that_kills_its_workers_fails_alone_and_says_so(cluster: Cluster, rating: SupernetAccuracy) -> None:
    space = rating.supernet.space
    architectures = some(space, 8)
    deadly = architectures[2].digest

    def act(architecture: Architecture) -> None:
        if architecture.digest == deadly:
            os.kill(os.getpid(), signal.SIGKILL)

    backend = RayBackend(cluster, acting(act), space, exact, workers=2, ahead=4)
    found = outcomes(backend, architectures)
    backend.close()
    assert [architecture for architecture, _ in found] == architectures
    reasons = [outcome.reason for _, outcome in found]
    assert re.fullmatch(rf"WorkerDied: {DEATHS} worker processes died .*: Worker unexpectedly exits .*", reasons.pop(2))
    assert not any(reasons)


def test_short_evaluations_share_calls_where_many_may_be_under_way(
    cluster: Cluster, rating: SupernetAccuracy, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = rating.supernet.space
    backend = RayBackend(cluster, acting(lambda a: None), space, exact, workers=1, ahead=8)
    sizes: list[int] = []
    send = backend._send
    monkeypatch.setattr(backend, "_send", lambda hand, count: (sizes.append(count), send(hand, count))[1])
    found = outcomes(backend, some(space, 30))
    backend.close()
    assert [outcome.reason for _, outcome in found] == [""] * 30
    assert max(sizes) == 4  # half of what may be under way: another call follows


def test_a_node_that_joins_is_used_and_one_that_is_lost_is_not_missed(
    cluster: Cluster, nodes: Any, rating: SupernetAccuracy
) -> None:
    space = rating.supernet.space
    architectures = some(space, 60)
    backend = RayBackend(cluster, acting(lambda a: time.sleep(0.1)), space, exact)
    assert backend.window == 4
    joined = nodes.add_node(num_cpus=1, object_store_memory=80 << 20)
    used: set[str] = set()

    def watch(done: int) -> None:
        used.update(place.node for place in backend.places)
        if joined.node_id in used and joined.live_processes():
            os.kill(joined.all_processes["raylet"][0].process.pid, signal.SIGKILL)

    found = outcomes(backend, architectures, watch)
    assert [architecture for architecture, _ in found] == architectures
    assert all(not outcome.reason for _, outcome in found)
    assert joined.node_id in used
    assert joined.node_id not in {place.node for place in backend.places}
    drop(nodes, joined)
    backend.close()


def test_a_cluster_without_room_is_waited_for_and_that_is_said(
    cluster: Cluster, rating: SupernetAccuracy, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray

    monkeypatch.setattr("archfront.search.cluster.backend.DROUGHT", 0.5)
    holders = [ray.remote(num_cpus=1)(Held).remote() for _ in range(2)]
    ray.get([holder.here.remote() for holder in holders])
    notes: list[str] = []

    def note(text: str) -> None:
        notes.append(text)
        for holder in holders:
            ray.kill(holder)

    backend = RayBackend(cluster, acting(lambda a: None), rating.supernet.space, exact, workers=1, note=note)
    (found,) = outcomes(backend, some(rating.supernet.space, 1))
    assert not found[1].reason
    assert len(notes) == 1 and "no free CPU" in notes[0]
    backend.close()


class Held:
    """Somebody else's work."""

    def here(self) -> None:
        """Returns once it runs."""


def test_workers_that_cannot_start_are_an_error_that_says_why(cluster: Cluster, rating: SupernetAccuracy) -> None:
    class Foreign:
        metrics = ("supernet_accuracy",)

        def __reduce__(self) -> tuple[Callable[[str], Any], tuple[str]]:
            return __import__, ("a_module_that_is_nowhere",)

        def evaluate(self, architecture: Architecture) -> dict[str, Measurement]:
            return {}

    backend = RayBackend(cluster, Foreign(), rating.supernet.space, exact, workers=1)
    with pytest.raises(ClusterError, match=r"no worker can start on the cluster.*a_module_that_is_nowhere"):
        outcomes(backend, some(rating.supernet.space, 1))
    backend.close()

"""What a Ray cluster costs a candidate: time of workers that is not spent evaluating, beside plain Ray Tune trials.

    python benchmarks/cluster.py [--quick] [--seed N] [--json FILE]

Two workers on this machine. Overhead is (wall time * workers - seconds of evaluation) / candidates, once all workers
have started: transport, counting the candidate here, and waiting. Evaluations: one that does nothing, one that sleeps,
and a rating with shared weights on images of digits. Ray Tune runs the same functions, a trial a candidate, two at a time.
On a machine with fewer cores than processes, evaluations slow each other down, and that is in the figures.
"""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Sequence
from typing import Any

from _common import Figures, Run, main

from archfront.evaluators.accuracy import Evaluator, SupernetAccuracy
from archfront.evaluators.data import load_data
from archfront.evaluators.supernet import Supernet
from archfront.evaluators.task import Classification
from archfront.hw_profiles.cost import cost
from archfront.hw_profiles.metrics import Measurement
from archfront.search.cluster.backend import RayBackend
from archfront.search.cluster.connection import Cluster, connect
from archfront.search.evaluation import Outcome, attempt
from archfront.space.architecture import Architecture
from archfront.space.presets import PRESETS
from archfront.space.space import Space

WORKERS = 2


def sleeping(seconds: float) -> Evaluator:
    """An evaluator that only takes time; its class is made here, so that it travels to workers by value."""

    class Sleeping:
        metrics = ("supernet_accuracy",)

        def evaluate(self, architecture: Architecture) -> dict[str, Measurement]:
            time.sleep(seconds)
            return {"supernet_accuracy": Measurement(0.5, "measured", 0.0, 1)}

    return Sleeping()


def exact(architecture: Architecture) -> dict[str, Measurement]:
    """What the driver finds out about a candidate."""
    return dict(cost(architecture).measurements())


def different(space: Space, count: int, seed: int) -> list[Architecture]:
    """Random architectures."""
    rng, found = random.Random(seed), dict[Architecture, None]()
    while len(found) < count:
        found[space.sample(rng)] = None
    return list(found)


def carry_out(backend: RayBackend, candidates: Sequence[Architecture]) -> tuple[float, list[Outcome]]:
    """Seconds until all candidates are done, none being under way before, and what became of them."""
    begin = time.perf_counter()
    waiting, outcomes = list(candidates), list[Outcome]()
    while waiting or backend.busy:
        while waiting and backend.room:
            backend.submit(waiting.pop())
        outcomes += [outcome for _, outcome in backend.collect()]
    for outcome in outcomes:
        if outcome.reason:
            raise SystemExit(outcome.reason)
    return time.perf_counter() - begin, outcomes


def on_workers(
    cluster: Cluster, evaluator: Evaluator, space: Space, candidates: Sequence[Architecture], ahead: int
) -> dict[str, Any]:
    """Overhead once all workers have started, processor time here, seconds until then, and memory of a worker."""
    import psutil

    begin = time.perf_counter()
    backend = RayBackend(cluster, evaluator, space, exact, workers=WORKERS, ahead=ahead)
    while len(backend.places) < WORKERS:
        carry_out(backend, candidates[:4])
    started = time.perf_counter() - begin
    busy = time.process_time()
    wall, outcomes = carry_out(backend, candidates)
    busy = time.process_time() - busy
    spent = sum(outcome.seconds for outcome in outcomes)
    memory = [psutil.Process(place.process).memory_full_info() for place in backend.places]
    backend.close()
    return {
        "candidates": len(outcomes),
        "evaluation ms": 1e3 * spent / len(outcomes),
        "overhead ms": 1e3 * (wall * WORKERS - spent) / len(outcomes),
        "driver ms": 1e3 * busy / len(outcomes),
        "start s": round(started, 1),
        "own MB": round(max(m.uss for m in memory) / 1e6),
        "resident MB": round(max(m.rss for m in memory) / 1e6),
    }


def in_ray_tune(evaluator: Evaluator, candidates: Sequence[Architecture], folder: str) -> dict[str, Any]:
    """The same candidates as trials of Ray Tune, two at a time."""
    from ray import tune

    texts = [architecture.to_dict() for architecture in candidates]

    def trainable(config: dict[str, Any]) -> None:
        outcome = attempt(evaluator.evaluate, Architecture.from_dict(texts[config["number"]]))
        tune.report({"seconds": outcome.seconds, "accuracy": outcome.measurements["supernet_accuracy"].value})

    tuner = tune.Tuner(
        tune.with_resources(trainable, {"cpu": 1}),
        param_space={"number": tune.grid_search(list(range(len(texts))))},
        tune_config=tune.TuneConfig(max_concurrent_trials=WORKERS),
        run_config=tune.RunConfig(verbose=0, storage_path=folder),
    )
    begin = time.perf_counter()
    results = tuner.fit()
    wall = time.perf_counter() - begin
    if results.errors:
        raise SystemExit(str(results.errors[0]))
    spent = sum(result.metrics["seconds"] for result in results)
    return {
        "candidates": len(texts),
        "evaluation ms": 1e3 * spent / len(texts),
        "overhead ms": 1e3 * (wall * WORKERS - spent) / len(texts),
    }


def measure(run: Run) -> Figures:
    """Overhead a candidate, for three lengths of evaluation."""
    data = load_data("digits", limit=1000)
    space = PRESETS["micro"].make(data.input, len(data.classes))
    rating = SupernetAccuracy(Supernet(space, run.seed), data, Classification(len(data.classes)), 256)
    count, few = (60, 4) if run.quick else (400, 20)
    candidates = different(space, count, run.seed)
    for architecture in candidates:
        exact(architecture)  # a search counts every part once, before it begins
    begin = time.perf_counter()
    with connect(workers=WORKERS) as cluster, tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter() - begin
        work: list[tuple[str, Evaluator, int]] = [
            ("nothing", sleeping(0.0), 2),
            ("nothing", sleeping(0.0), 8),
            ("50 ms of sleep", sleeping(0.05), 2),
            ("a rating with shared weights", rating, 2),
        ]
        rows = [
            {"evaluation": name, "ahead": ahead, **on_workers(cluster, evaluator, space, candidates, ahead)}
            for name, evaluator, ahead in work
        ]
        tuned = [
            {"evaluation": name, **in_ray_tune(evaluator, candidates[:few], folder)}
            for name, evaluator, _ in (work[0], work[3])
        ]
    return {"start of the cluster s": round(started, 1), "archfront": rows, "Ray Tune": tuned}


if __name__ == "__main__":
    main("cluster", "a candidate on a Ray cluster costs under 50 ms besides its evaluation", measure)

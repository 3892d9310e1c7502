"""Times prepared models in a process of its own: `python worker.py JOB.json`.

Needs nothing of archfront but the standard library, numpy and the runtime it drives (torch eager, which has to build
its modules, is the exception), so the same file can be carried to a device and run there.

The job is JSON: `{"models": {name: {"kind", ...}}, "threads", "plan": {...}, "result": path}`. The result, written in
one piece at the end, is JSON as `interleave` returns it. Nothing is unpickled on either side.
"""

from __future__ import annotations

import gc
import json
import os
import random
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any, Protocol

Session = Callable[[], object]
"""Runs one inference."""


class Clock(Protocol):
    """Where times come from; tests put a simulated device here."""

    def wall(self) -> int:
        """Nanoseconds that went by."""

    def cpu(self) -> int:
        """Nanoseconds that this process was computing."""


class SystemClock:
    """The clocks of this machine."""

    wall = staticmethod(time.perf_counter_ns)
    cpu = staticmethod(time.process_time_ns)


@dataclass(frozen=True)
class Plan:
    """How one process measures.

    Args:
        rounds: visits of every model, each round in a new random order.
        visit_ms: least duration of the timed runs of one visit.
        warm_ms: least warm-up of a model before the first round.
        seconds: no round begins after this long, warm-up included, once there are `minimum` rounds.
        seed: of the orders.
        max_runs: most timed runs a visit, so that tiny graphs do not flood the samples.
    """

    rounds: int
    visit_ms: float
    warm_ms: float
    seconds: float
    seed: int
    minimum: int = 3
    max_runs: int = 128


def interleave(sessions: Mapping[str, Session], plan: Plan, clock: Clock) -> dict[str, Any]:
    """Time all sessions in rounds of random order.

    A slow spell of the machine then hits every model alike instead of the one whose turn it was, and the fastest run
    of many short visits finds the quiet moments.

    Returns:
        `rounds`: for every completed round `{name: {"wall": [ns of each run], "cpu": ns of the whole visit}}`;
        `warm_up_ms`: time spent before the first round.
    """
    order = random.Random(plan.seed)
    start = clock.wall()
    runs = {name: _runs(warm_up(session, plan, clock), plan) for name, session in sessions.items()}
    warm = clock.wall() - start
    names = list(sessions)
    rounds: list[dict[str, Any]] = []
    for _ in range(plan.rounds):
        if len(rounds) >= plan.minimum and clock.wall() - start > plan.seconds * 1e9:
            break
        order.shuffle(names)
        rounds.append({name: visit(sessions[name], runs[name], clock) for name in names})
    return {"rounds": rounds, "warm_up_ms": warm / 1e6}


def _runs(ns: float, plan: Plan) -> int:
    return min(plan.max_runs, max(1, -(-int(plan.visit_ms * 1e6) // max(1, int(ns)))))


def warm_up(session: Session, plan: Plan, clock: Clock) -> float:
    """Run until the median of five runs stops falling, for at least `warm_ms` and three runs; returns it in ns.

    Stops at ten times `warm_ms`, so that a machine that never settles cannot hold the measuring up.
    """
    start = clock.wall()
    times: list[int] = []
    best = float("inf")
    while True:
        begin = clock.wall()
        session()
        times.append(clock.wall() - begin)
        if len(times) < 3 or clock.wall() - start < plan.warm_ms * 1e6:
            continue
        last = median(times[-5:])
        if last >= 0.99 * best or clock.wall() - start > plan.warm_ms * 1e7:
            return last
        best = last


def visit(session: Session, runs: int, clock: Clock) -> dict[str, Any]:
    """One or two untimed runs, which bring the model back into the caches, then `runs` timed ones."""
    for _ in range(2 if runs > 1 else 1):
        session()
    wall = []
    cpu = clock.cpu()
    for _ in range(runs):
        begin = clock.wall()
        session()
        wall.append(clock.wall() - begin)
    return {"wall": wall, "cpu": clock.cpu() - cpu}


# --------------------------------------------------------------------------- loading


def load_onnx(model: Mapping[str, Any], threads: int) -> Session:
    """A session of ONNX Runtime on the CPU, fed with normal random numbers."""
    import numpy
    import onnxruntime

    session = onnxruntime.InferenceSession(model["file"], session_options(threads), providers=[model["provider"]])
    random_numbers = numpy.random.default_rng(0)
    feed = {i.name: random_numbers.standard_normal(i.shape).astype(numpy.float32) for i in session.get_inputs()}
    return lambda: session.run(None, feed)


def session_options(threads: int) -> Any:
    """Fixed threads, and no spinning: a spinning thread steals the core of the next model's run."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    return options


def load_torch(model: Mapping[str, Any], threads: int) -> Session:
    """A module in torch eager, built from its spec; its weights are random, which its latency does not depend on."""
    import torch

    from archfront.hw_profiles.runtimes import load_eager

    torch.set_num_threads(threads)
    return load_eager(model)


LOADERS: dict[str, Callable[[Mapping[str, Any], int], Session]] = {"onnx": load_onnx, "torch": load_torch}


def main(path: str) -> None:
    """Carry out the job in the file at `path`."""
    with open(path, encoding="utf-8") as file:  # noqa: PTH123 - the interface of a script
        job = json.load(file)
    sessions = {}
    for name, model in job["models"].items():
        print(f"loading {name}", file=sys.stderr, flush=True)  # the last line of a crash names its model
        sessions[name] = LOADERS[model["kind"]](model, job["threads"])
        sessions[name]()
    print("timing", file=sys.stderr, flush=True)
    gc.collect()
    gc.freeze()
    gc.disable()
    result = interleave(sessions, Plan(**job["plan"]), SystemClock())
    with open(job["result"] + ".part", "w", encoding="utf-8") as file:  # noqa: PTH123
        json.dump(result, file)
    os.replace(job["result"] + ".part", job["result"])  # noqa: PTH105


if __name__ == "__main__":
    main(sys.argv[1])

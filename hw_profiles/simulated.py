"""A device with known latencies that drifts, has bursts of other work, and becomes hot: protocols are tested on it."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from typing import Any

from . import worker


class SimulatedDevice:
    """A clock that only the runs of its models move on: everything follows from the seed.

    Latencies have an exponential jitter of 1 %, and each model is placed a little badly in memory for the life of a
    process. A thermometer relaxes towards `AMBIENT`, or `busy_celsius` above it while a model runs.

    Args:
        truth: latency of every model in milliseconds, in the absence of all that follows.
        seed: of everything random.
        bursts: least slowdown during a burst of other work, as a share; at most twice that.
        drift: largest slowdown of a slow wave, as a share.
        idle_ms: mean time between bursts; they last 20 ms in the mean.
        placement: standard deviation of a process's lasting slowdown of a model, as a share.
        busy_celsius: how much hotter than around it the device becomes in the end; None: it has no thermometer.
        throttle: slowdown at `THROTTLED` degrees and above, as a share; it sets in 10 degrees below.
    """

    AMBIENT, THROTTLED, TAU = 30.0, 70.0, 20.0

    def __init__(
        self,
        truth: Mapping[str, float],
        seed: int,
        bursts: float = 0.3,
        drift: float = 0.1,
        idle_ms: float = 40.0,
        placement: float = 0.003,
        busy_celsius: float | None = None,
        throttle: float = 0.0,
    ) -> None:
        self.truth, self.drift, self.bursts, self.idle_ms = dict(truth), drift, bursts, idle_ms
        self.placement, self.busy_celsius, self.throttle = placement, busy_celsius, throttle
        self.random = random.Random(seed)
        self.ns, self.temperature = 0.0, self.AMBIENT
        self.burst_until = self.next_burst = 0.0
        self.life: dict[str, float] = {}
        self.new_process()

    def new_process(self) -> None:
        """Place the models anew."""
        self.life = {name: 1 + abs(self.random.gauss(0, self.placement)) for name in self.truth}

    def wall(self) -> int:
        return int(self.ns)

    def cpu(self) -> int:
        return int(self.ns)

    def celsius(self) -> float | None:
        return None if self.busy_celsius is None else self.temperature

    def sleep(self, seconds: float) -> None:
        self._pass(seconds * 1e9, busy=False)

    def session(self, name: str) -> worker.Session:
        """Runs the model once."""

        def run() -> None:
            jitter = 1 + self.random.expovariate(1 / 0.01)
            self._pass(self.truth[name] * 1e6 * self.life[name] * self._slowdown() * jitter, busy=True)

        return run

    def launch(self, plan: worker.Plan | worker.Endurance) -> Mapping[str, Any]:
        """Carry out a plan in a "fresh process"; one of endurance runs the first model."""
        self.new_process()
        sessions = {name: self.session(name) for name in self.truth}
        if isinstance(plan, worker.Endurance):
            return worker.sustain(next(iter(sessions.values())), plan, self)
        return worker.interleave(sessions, plan, self)

    def _pass(self, ns: float, busy: bool) -> None:
        self.ns += ns
        goal = self.AMBIENT + (self.busy_celsius or 0.0) * busy
        self.temperature = goal + (self.temperature - goal) * math.exp(-ns / 1e9 / self.TAU)

    def _slowdown(self) -> float:
        if self.ns > self.next_burst:
            self.burst_until = self.ns + self.random.expovariate(1 / 20e6) * bool(self.bursts)
            self.next_burst = self.burst_until + self.random.expovariate(1e-6 / self.idle_ms)
        burst = 1 + self.bursts * (1 + self.random.random()) if self.ns < self.burst_until else 1.0
        hot = min(1.0, max(0.0, (self.temperature - self.THROTTLED + 10) / 10))
        return burst * (1 + self.throttle * hot) * (1 + self.drift * (1 + math.sin(self.ns / 3e8)) / 2)

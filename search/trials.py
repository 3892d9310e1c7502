"""Trials: what was evaluated, stored as ordinary Optuna trials so that every tool of Optuna reads them."""

from __future__ import annotations

import json
import logging
import time
import uuid
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from archfront.hw_profiles.metrics import Measurement, metric
from archfront.space.architecture import Architecture

from .storage import explained, open_storage
from .study import StudyError

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

OBJECTIVES = {
    "latency": "predicted_latency_ms",
    "params": "params",
    "flops": "macs",
    "memory": "peak_bytes",
}
"""The metric that stands for an objective while searching; for accuracy it is what rates candidates."""

FINAL_METRIC = {
    "supernet_accuracy": "accuracy",
    "alone_accuracy": "accuracy",
    "block_agreement": "accuracy",
    "predicted_latency_ms": "latency_ms",
}
"""What an estimate of the search becomes for the members of the front."""


def search_metrics(objectives: Sequence[str], rating: str) -> tuple[str, ...]:
    """The metrics that stand for objectives while searching, where `rating` is the one that rates candidates."""
    return tuple(rating if name == "accuracy" else OBJECTIVES[name] for name in objectives)


@dataclass(frozen=True)
class Trial:
    """One candidate that was evaluated, or failed.

    Args:
        number: in the order of storage.
        architecture: the candidate.
        measurements: by metric; empty where it failed.
        reason: why it failed; empty where it did not.
        origin: why it was proposed.
        choices: the label chosen at every site.
        seconds: how long its evaluation took.
        elapsed: seconds of searching, by the clock, when it was stored; of all runs and processes together.
    """

    number: int
    architecture: Architecture
    measurements: Mapping[str, Measurement]
    reason: str
    origin: str
    choices: Mapping[str, Any]
    seconds: float
    elapsed: float = 0.0

    @property
    def complete(self) -> bool:
        """Whether it was evaluated to the end."""
        return not self.reason

    @property
    def stopped(self) -> bool:
        """Whether its training ended before its time: it has the accuracy that it had reached, and is no finalist."""
        return "stopped_epochs" in self.measurements

    @cached_property
    def values(self) -> dict[str, float]:
        """The measured values by metric."""
        return {name: measurement.value for name, measurement in self.measurements.items()}

    def attributes(self) -> dict[str, Any]:
        """What is kept beside Optuna's own fields."""
        return {
            "architecture": dumps(self.architecture.to_dict()),
            "measurements": {name: m.to_dict() for name, m in self.measurements.items()},
            "reason": self.reason,
            "origin": self.origin,
            "choices": dict(self.choices),
            "seconds": self.seconds,
            "elapsed": self.elapsed,
        }


class TrialLog:
    """The stored trials of a study, and a copy in memory from which samplers learn at no cost of storage.

    Several processes may add to one storage; `refresh` brings in what the others added.

    Args:
        url: of the storage: any of Optuna's, or `journal:` and a path.
        name: the name of the study in it.
        objectives: as the user names them ("accuracy", "latency", ...).
        sampler: an Optuna sampler; one that depends on the trials so far may be set afterwards, as `memory.sampler`.
        rating: the metric that candidates are rated by.
    """

    def __init__(
        self,
        url: str,
        name: str,
        objectives: Sequence[str],
        sampler: optuna.samplers.BaseSampler | None = None,
        rating: str = "supernet_accuracy",
    ) -> None:
        import optuna

        from .memory import Shared, SharingStorage

        self.url = url
        self._shared = Shared()
        self.metrics = search_metrics(objectives, rating)
        self.trials: list[Trial] = []
        self._own = uuid.uuid4().hex
        ways = {"max": optuna.study.StudyDirection.MAXIMIZE, "min": optuna.study.StudyDirection.MINIMIZE}
        directions = [ways[metric(m).direction] for m in self.metrics]
        with quiet_optuna():
            self.memory = optuna.create_study(storage=SharingStorage(), directions=directions, sampler=sampler)
            with explained(url, "use the storage"):
                self._storage = open_storage(url)
                self.stored = optuna.create_study(
                    study_name=name,
                    storage=self._storage,
                    directions=directions,
                    load_if_exists=True,
                    sampler=optuna.samplers.RandomSampler(),
                )
                self._study = self._storage.get_study_id_from_name(name)
                found = self.stored.get_trials(deepcopy=False)
        self._read(found)
        self._before, self._opened = max((trial.elapsed for trial in self.trials), default=0.0), time.monotonic()

    @property
    def elapsed(self) -> float:
        """Seconds of searching so far, by the clock: since this was opened, and what earlier runs took.

        Every trial keeps how long it had been, so a run that is killed loses the time of the candidate in flight, and
        processes that search together count the same time once.
        """
        return self._before + time.monotonic() - self._opened

    def refresh(self, mine: Trial | None = None) -> list[Trial]:
        """Read the trials that were stored since the last time; `mine` is the one among them that needs no decoding."""
        from .memory import trials_from

        with explained(self.url, "use the storage"):
            return self._read(trials_from(self._storage, self._study, len(self.trials)), mine)

    def _read(self, found: Iterable[FrozenTrial], mine: Trial | None = None) -> list[Trial]:
        new = []
        for frozen in found:
            self._shared.all(frozen)
            if mine is not None and frozen.user_attrs.get("writer") == self._own:
                new.append(replace(mine, number=frozen.number))
            else:
                new.append(read_trial(frozen))
                self.memory.add_trial(frozen)
        self.trials += new
        return new

    def add(self, trial: Trial, frozen: FrozenTrial) -> list[Trial]:
        """Store a trial; it is kept once this returns. Its number is the storage's affair, not `trial.number`.

        Returns:
            The trial as stored, and those that other processes added in the meantime.
        """
        frozen.user_attrs = {**frozen.user_attrs, **trial.attributes(), "writer": self._own}
        with explained(self.url, f"store trial {trial.number} in"):
            self.stored.add_trial(frozen)
        return self.refresh(trial)


def read_trial(frozen: FrozenTrial) -> Trial:
    """The trial that an Optuna trial of a study of ours holds.

    Raises:
        StudyError: it was written by something else.
    """
    kept = frozen.user_attrs
    try:
        return Trial(
            number=frozen.number,
            architecture=Architecture.from_dict(json.loads(kept["architecture"])),
            measurements={name: Measurement(**m) for name, m in kept["measurements"].items()},
            reason=kept["reason"],
            origin=kept["origin"],
            choices=kept["choices"],
            seconds=kept["seconds"],
            elapsed=kept.get("elapsed", 0.0),  # early studies have none
        )
    except (KeyError, TypeError) as error:
        raise StudyError(f"trial {frozen.number} in the storage was not written by archfront: {error!r}") from None


@contextmanager
def quiet_optuna() -> Iterator[None]:
    """Without Optuna's own log lines and warnings about experimental features."""
    import optuna

    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(level)


def dumps(value: Any) -> str:
    """Compact JSON."""
    return json.dumps(value, separators=(",", ":"))

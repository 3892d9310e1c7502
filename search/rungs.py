"""Early stopping of trainings, for several objectives at once.

In the manner of ASHA (Li, Jamieson, Rostamizadeh, Gonina, Ben-tzur, Hardt, Recht & Talwalkar, 2020, A System for
Massively Parallel Hyperparameter Tuning): a training that comes to a rung (1, eta, eta², ... epochs) goes on only if it
is among the best 1/eta of those that have come there so far, and waits for nobody. The best are those on the better
fronts of accuracy and costs together (Schmucker, Donini, Zafar, Salinas & Archambeau, 2021, Multi-objective Asynchronous
Successive Halving). By accuracy alone, the small networks of the front would all be stopped.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from archfront.evaluators.stand_alone import Rung
from archfront.hw_profiles.metrics import Measurement
from archfront.space.architecture import Architecture
from archfront.space.files import write_text

from .pareto import Values, non_dominated
from .study import read_json


@dataclass(frozen=True)
class Rungs:
    """What trainings had reached at the rungs, and which of them go on; one small file each, so processes may share it.

    A training goes on where fewer than 1/eta of those that came to the rung, itself included, lie on better fronts. So
    whatever is stopped was dominated when it was stopped; the more objectives there are, the more go on.

    Args:
        folder: where that is kept.
        epochs: of a whole training.
        eta: 2 or more; 1 stops nothing.
        costs: of an architecture, all to be low; known without training it.
    """

    folder: Path
    epochs: int
    eta: int
    costs: Callable[[Architecture], Sequence[float]]
    _known: dict[int, dict[str, list[float]]] = field(default_factory=dict, repr=False, compare=False)

    @cached_property
    def milestones(self) -> tuple[int, ...]:
        """The epochs of the rungs."""
        found: list[int] = []
        epochs = 1
        while self.eta > 1 and epochs < self.epochs:
            found.append(epochs)
            epochs *= self.eta
        return tuple(found)

    def rung(self, run: str, epochs: int) -> Rung | None:
        """What was decided about a training at a rung; None where nothing was."""
        file = self._file(run, epochs)
        if not file.exists():
            return None
        found = read_json(file)
        return Rung(Measurement(**found["accuracy"]), found["goes_on"])

    def judge(self, architecture: Architecture, run: str, epochs: int, accuracy: Measurement) -> None:
        """Decide about a training that has come to a rung, and keep that."""
        values = [-accuracy.value, *self.costs(architecture)]
        others = [other for name, other in self._reached(epochs).items() if name != run]
        goes_on = ahead(np.array([*others, values])) * self.eta < len(others) + 1
        found: dict[str, Any] = {"accuracy": accuracy.to_dict(), "values": values, "goes_on": goes_on}
        write_text(self._file(run, epochs), json.dumps(found) + "\n")

    def _reached(self, epochs: int) -> dict[str, list[float]]:
        """The values of every training that came to a rung, by its name."""
        known = self._known.setdefault(epochs, {})
        for file in (self.folder / str(epochs)).glob("*.json"):
            if file.stem not in known:
                known[file.stem] = read_json(file)["values"]
        return known

    def _file(self, run: str, epochs: int) -> Path:
        return self.folder / str(epochs) / f"{run}.json"


def ahead(values: Values) -> int:
    """How many rows of `values` (n, m), all to be low, lie on better fronts than the last one.

    The first front is what no other row dominates, the second what none of the rest does, and so on.
    """
    count = 0
    while len(values):
        front = non_dominated(values)
        if front[-1] or not front.any():
            break
        count += int(front.sum())
        values = values[~front]
    return count

"""Searching a table of finished experiments: any sampler, evaluations that cost nothing, the true front known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from archfront.evaluators.table import Table, TableError

from .pareto import hypervolume, hypervolume_over, non_dominated
from .surrogate.candidates import MOVE, ORIGIN, RANDOM, Candidate
from .trials import quiet_optuna

if TYPE_CHECKING:
    from collections.abc import Callable

    import optuna
    import pandas as pd

    from .surrogate.sites import Params

Values = NDArray[np.float64]

ASKS = 40
"""Proposals in a row that may repeat known rows before a random unknown one is evaluated instead."""

ROW = "archfront:row"


class Replay:
    """One search in a table, as it would have gone: a sampler proposes, the table answers.

    A sampler that combines choices freely may propose what is no row: the row that differs at fewest sites answers for
    it, as a search brings proposals into its space. So no proposal breaks a bound that the table was cut to. A row
    that is known already answers from memory and counts as no evaluation.

    Args:
        table: rows outside the budget taken out (`Table.within`).
        objectives: columns with "min" or "max".
        seed: of ties and of what is evaluated when a sampler only repeats itself.
    """

    def __init__(self, table: Table, objectives: Mapping[str, str], seed: int = 0) -> None:
        self.table = table
        self.objectives = dict(objectives)
        self.values = np.stack([table.column(name) for name in objectives], axis=1)
        self.signs = np.array([-1.0 if way == "max" else 1.0 for way in objectives.values()])
        self.levels = table.levels
        self.labels = table.labels
        self.usable: NDArray[np.bool_] = np.logical_and.reduce(np.isfinite(self.values), axis=1)
        self.rows: list[int] = []
        self.origins: list[str] = []
        self._rng = np.random.default_rng(seed)
        if not self.usable.any():
            raise TableError(f"no row has a value for each of {', '.join(objectives)}")

    # ------------------------------------------------------------------ what is searched for

    @cached_property
    def reference(self) -> Values:
        """The median of each objective over the table (m,), in its own unit."""
        median: Values = np.median(self.values[self.usable], axis=0)
        return median

    @cached_property
    def _scaled(self) -> Values:
        """Objectives with the best value of the table at 0 and the reference at 1."""
        signed = self.signs * self.values
        best = signed[self.usable].min(axis=0)
        span = self.signs * self.reference - best
        scaled: Values = (signed - best) / np.where(span > 0, span, 1.0)
        return scaled

    @cached_property
    def front(self) -> NDArray[np.bool_]:
        """Which rows no usable row dominates."""
        return non_dominated(np.where(self.usable[:, None], self.signs * self.values, np.nan))

    @cached_property
    def most(self) -> float:
        """The hypervolume of the true front, from the reference, objectives scaled."""
        return hypervolume(self._scaled[self.usable], np.ones(len(self.objectives)))

    def regret(self) -> Values:
        """After each evaluation, the share of the true front's hypervolume that is not reached yet; 0 where it has none."""
        missing: Values = self.most - hypervolume_over(self._scaled[self.rows], np.ones(len(self.objectives)))
        return missing / (self.most or 1.0)

    def results(self) -> pd.DataFrame:
        """The rows that were evaluated, in order, with why, whether they are on the front, and the regret so far."""
        frame = self.table.frame.iloc[self.rows].reset_index(drop=True)
        frame.insert(0, "trial", range(len(frame)))
        frame["origin"] = self.origins
        frame["front"] = non_dominated(self._scaled[self.rows])
        frame["regret"] = self.regret()
        return frame

    # ------------------------------------------------------------------ searching

    def study(
        self,
        sampler: optuna.samplers.BaseSampler,
        storage: str | optuna.storages.BaseStorage | None = None,
        name: str = "table",
    ) -> Any:
        """An Optuna study for `run`; one that is in the storage already goes on, by this process alone."""
        import optuna

        ways = [optuna.study.StudyDirection[f"{way.upper()}IMIZE"] for way in self.objectives.values()]
        with quiet_optuna():
            study = optuna.create_study(
                storage=storage, study_name=name, directions=ways, sampler=sampler, load_if_exists=True
            )
            for trial in study.get_trials(deepcopy=False):
                if not trial.state.is_finished():  # its process was killed while it waited for an answer
                    study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
                elif trial.state == optuna.trial.TrialState.COMPLETE:
                    row = trial.user_attrs.get(ROW)
                    if row is not None and row not in self.rows:
                        self._keep(row, _origin(trial, sampler))
        return study

    def run(
        self, study: optuna.study.Study, evaluations: int, advance: Callable[[int, str], None] | None = None
    ) -> None:
        """Evaluate until so many different rows are known, or all; `advance` is told how many are."""
        import optuna

        wanted = min(evaluations, int(self.usable.sum()))
        repeated = 0
        known = set(self.rows)
        while len(self.rows) < wanted:
            if advance is not None:
                advance(len(self.rows), "")
            with quiet_optuna():
                trial = study.ask()
                row = self.row({site: trial.suggest_categorical(site, self.labels[site]) for site in self.table.sites})
                trial.set_user_attr(ROW, row)
                told = study.tell(trial, self.values[row].tolist())
            repeated = repeated + 1 if row in known else 0
            if row not in known:
                self._keep(row, _origin(told, study.sampler))
            elif repeated >= ASKS:
                repeated = 0
                row = int(self._rng.choice(np.setdiff1d(np.flatnonzero(self.usable), self.rows)))
                with quiet_optuna():
                    study.add_trial(
                        optuna.trial.create_trial(
                            params=self.table.choices(row),
                            distributions=self.distributions,
                            values=self.values[row].tolist(),
                            user_attrs={ROW: row, ORIGIN: RANDOM},
                        )
                    )
                self._keep(row, RANDOM)
            known.add(row)

    @cached_property
    def distributions(self) -> dict[str, optuna.distributions.BaseDistribution]:
        """The sites, as Optuna describes them."""
        from optuna.distributions import CategoricalDistribution

        return {site: CategoricalDistribution(labels) for site, labels in self.labels.items()}

    def row(self, choices: Params) -> int:
        """The usable row that differs from the choices at fewest sites; a random one of several."""
        nearest_rows = self.nearest(choices)
        return int(nearest_rows[0] if len(nearest_rows) == 1 else self._rng.choice(nearest_rows))

    def nearest(self, choices: Params) -> NDArray[np.int64]:
        """The usable rows that differ from the choices at fewest sites."""
        wanted = [self.labels[site].index(choices[site]) for site in self.table.sites]
        differing = (self.levels != wanted).sum(axis=1)
        differing[~self.usable] = len(wanted) + 1
        return np.flatnonzero(differing == differing.min())

    def _keep(self, row: int, origin: str) -> None:
        self.rows.append(row)
        self.origins.append(origin)


def _origin(trial: optuna.trial.FrozenTrial, sampler: optuna.samplers.BaseSampler) -> str:
    """Why a trial was proposed: what the sampler says, or that it was the sampler."""
    name = type(sampler).__name__.removeprefix("Steady").removesuffix("Sampler")
    return str(trial.user_attrs.get(ORIGIN, name))


class Rows:
    """Candidates for the surrogate sampler that are rows of a table: its source.

    Args:
        replay: the search.
        known: columns that are exact and cheap, so that the sampler is told them before it chooses: objectives among
            them are not modelled, and models of the others are told all of them.
    """

    NEAR, FAR, PARENTS = 400, 100, 20

    def __init__(self, replay: Replay, known: Sequence[str] = ()) -> None:
        self.replay = replay
        told = [name in known for name in replay.objectives]
        self._choices = [replay.table.choices(row) for row in range(len(replay.table))]
        self._row_of = {tuple(choices.values()): row for row, choices in enumerate(self._choices)}
        self._known = np.where(told, replay.values, np.nan)
        self._costs = (
            np.array([_evened(replay.table.column(name)) for name in known]).reshape(len(known), len(replay.table)).T
        )

    def __call__(self, parents: Sequence[Params], rng: np.random.Generator) -> list[Candidate]:
        """Rows that differ from a parent at one site, some at two, and some at random."""
        replay = self.replay
        of = [[replay.labels[s].index(params[s]) for s in replay.table.sites] for params in parents[: self.PARENTS]]
        distance = np.min([(replay.levels != levels).sum(axis=1) for levels in of], axis=0)
        distance[~replay.usable | np.isin(np.arange(len(distance)), replay.rows)] = len(replay.table.sites) + 1
        order = np.argsort(distance + rng.random(len(distance)), kind="stable")[: self.NEAR]
        near = order[distance[order] <= len(replay.table.sites)]
        far = rng.permutation(np.flatnonzero(distance <= len(replay.table.sites)))[: self.FAR]
        return [self._candidate(int(i), MOVE) for i in near] + [self._candidate(int(i), RANDOM) for i in far]

    def costs(self, params: Params) -> tuple[float, ...]:
        """What is known of the row with these choices, or of a nearest one where there is none."""
        choices = tuple(params[site] for site in self.replay.table.sites)
        row = self._row_of[choices] if choices in self._row_of else int(self.replay.nearest(params)[0])
        return tuple(self._costs[row].tolist())

    def _candidate(self, row: int, origin: str) -> Candidate:
        return Candidate(self._choices[row], origin, tuple(self._known[row].tolist()), tuple(self._costs[row].tolist()))


def _evened(column: Values) -> Values:
    """Sizes on a scale on which steps mean the same everywhere: their logarithms, where all are positive."""
    return np.log(column) if (column > 0).all() else column

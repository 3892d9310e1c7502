"""How many evaluations samplers need, by the hypervolume of the true front that is still missing in a known table.

python benchmarks/search.py [--quick] [--seed N] [--json FILE] --table FILE --sites PATTERN [--pairs error:min,cost:min ...]

The table holds every architecture of a space. Objectives are scaled so that the best value is 0 and the median 1; the
reference point is (1, 1); what is reported is 1 - HV / HV(true front), mean over seeds. An evaluation is a different
row: repeats are answered from memory, so nobody is charged for them. Finished runs are kept in `--folder`.

`surrogate` sees no more of the table than the others. `surrogate, told` is told the columns of `--known` before it
chooses, as a search in a space knows the parameters and multiply-adds of every network; `surrogate, costs known` looks
up every objective but the first.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
from _common import Figures, Run, main
from optuna.samplers import BaseSampler, GPSampler, NSGAIISampler, RandomSampler, TPESampler

from archfront.evaluators.table import Table, directions
from archfront.search.pareto import non_dominated
from archfront.search.surrogate.sampler import SurrogateSampler
from archfront.search.tables import Replay, Rows

MARKS = (50, 100, 200, 400)
QUICK_MARKS = (25, 50)


class LocalSearch(BaseSampler):
    """Plain multi-objective local search: a new neighbour, in one choice, of a random member of the front."""

    def __init__(self, seed: int, startup: int = 16) -> None:
        self.startup = startup
        self.rng = np.random.default_rng(seed)
        self.random = RandomSampler(seed=seed)

    def infer_relative_search_space(self, study: Any, trial: Any) -> dict[str, Any]:
        return {}

    def sample_relative(self, study: Any, trial: Any, search_space: Any) -> dict[str, Any]:
        return {}

    def before_trial(self, study: Any, trial: Any) -> None:
        done = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
        self.next: dict[str, Any] = {}
        if len(done) < self.startup:
            return
        known = {tuple(old.params.values()) for old in done}
        for i in self.rng.permutation(np.flatnonzero(non_dominated(self._signed(study, done)))):
            parent, distributions = done[i].params, done[i].distributions
            moves = [parent | {site: choice} for site in parent for choice in distributions[site].choices]
            fresh = [move for move in moves if tuple(move.values()) not in known]
            if fresh:
                self.next = fresh[int(self.rng.integers(len(fresh)))]
                return

    def sample_independent(self, study: Any, trial: Any, param_name: str, param_distribution: Any) -> Any:
        if self.next:
            return self.next[param_name]
        return self.random.sample_independent(study, trial, param_name, param_distribution)

    def _signed(self, study: Any, done: Any) -> Any:
        signs = [-1.0 if d == optuna.study.StudyDirection.MAXIMIZE else 1.0 for d in study.directions]
        return np.array([trial.values for trial in done]) * signs


SAMPLERS: Mapping[str, Callable[[int], BaseSampler]] = {
    "random": lambda seed: RandomSampler(seed=seed),
    "NSGA-II": lambda seed: NSGAIISampler(seed=seed),
    "TPE": lambda seed: TPESampler(multivariate=True, seed=seed),
    "GP": lambda seed: GPSampler(seed=seed),
    "local search": lambda seed: LocalSearch(seed),
    "surrogate": lambda seed: SurrogateSampler(seed=seed),
}
"""What is compared; Optuna's with its own settings."""


def sampler_of(name: str, seed: int, replay: Replay, known: list[str]) -> BaseSampler:
    """The sampler of that name for one search."""
    if name == "surrogate, told":
        return SurrogateSampler(seed=seed, costs=Rows(replay, known).costs)
    if name == "surrogate, costs known":
        rows = Rows(replay, list(replay.objectives)[1:])
        return SurrogateSampler(seed=seed, source=rows, costs=rows.costs)
    return SAMPLERS[name](seed)


def regrets(replay: Replay, sampler: BaseSampler, marks: tuple[int, ...]) -> list[float]:
    """The regret of one search after so many evaluations."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        replay.run(replay.study(sampler), marks[-1])
    curve = replay.regret()
    return [float(curve[mark - 1]) for mark in marks]


class Kept:
    """Finished runs, one JSON line each, so that an interrupted benchmark goes on."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.runs: dict[str, Any] = {}
        if file.exists():
            for line in file.read_text().splitlines():
                run = json.loads(line)
                self.runs[run["name"]] = run

    def get(self, name: str, make: Callable[[], list[float]]) -> dict[str, Any]:
        """The run of that name, made if it is not there."""
        if name not in self.runs:
            start = time.process_time()
            run = {"name": name, "regret": make(), "seconds": time.process_time() - start}
            self.file.parent.mkdir(parents=True, exist_ok=True)
            with self.file.open("a") as out:
                out.write(json.dumps(run) + "\n")
            self.runs[name] = run
        return self.runs[name]


def sampled(options: argparse.Namespace, name: str) -> tuple[int, int]:
    """Seeds and evaluations for a sampler: GP takes seconds a proposal and gets fewer."""
    return (options.gp_seeds, options.gp_evaluations) if name == "GP" else (options.seeds, MARKS[-1])


def compare(table: Table, pair: str, options: argparse.Namespace, kept: Kept, seed: int) -> Iterator[dict[str, Any]]:
    """One row a sampler: mean regret at each mark."""
    every = QUICK_MARKS if options.quick else MARKS
    objectives = directions(pair, {})
    for name in options.samplers.split("+"):
        seeds, evaluations = (3, every[-1]) if options.quick else sampled(options, name)
        marks = tuple(mark for mark in every if mark <= evaluations)
        runs = []
        for number in range(seed, seed + seeds):

            def make(name: str = name, number: int = number, marks: tuple[int, ...] = marks) -> list[float]:
                replay = Replay(table, objectives, number)
                return regrets(replay, sampler_of(name, number, replay, options.known.split(",")), marks)

            runs.append(kept.get(f"{len(table)} rows/{pair}/{name}/{number}/{marks[-1]}", make))
        found = np.array([run["regret"] for run in runs])
        spread = found.std(axis=0) / np.sqrt(len(found))
        cells = {
            str(mark): f"{found[:, i].mean():.3f} ± {spread[i]:.3f}" if mark in marks else "–"
            for i, mark in enumerate(every)
        }
        seconds = np.mean([run["seconds"] for run in runs]) / marks[-1]
        yield {"objectives": pair, "sampler": name, "seeds": seeds, **cells, "ms a proposal": round(1000 * seconds, 1)}


def synthetic(seed: int) -> Table:
    """1,024 architectures of nobody: five choices that act together on an error and add up to a cost."""
    rng = np.random.default_rng(seed)
    rows = np.array(list(product(range(4), repeat=5)))
    pairs = rng.normal(size=(5, 5, 4, 4))
    error = sum(pairs[i, j, rows[:, i], rows[:, j]] for i in range(5) for j in range(i))
    cost = rng.exponential(size=(5, 4))[np.arange(5), rows].sum(axis=1) - 0.3 * error
    frame = pd.DataFrame(rows, columns=[f"site{i}" for i in range(5)]).assign(error=np.exp(error / 3), cost=cost)
    return Table(frame, tuple(frame.columns[:5]))


def measure(run: Run, options: argparse.Namespace) -> Figures:
    """The figures of all pairs of objectives."""
    options.quick = run.quick
    if run.quick:
        table, pairs = synthetic(run.seed), ["error, cost"]
    else:
        table, pairs = Table.read(options.table, options.sites.split(",")), options.pairs
    table = table.within(options.where)
    kept = Kept(options.folder / ("quick.jsonl" if run.quick else f"{Path(options.table).stem}.jsonl"))
    rows = [row for pair in pairs for row in compare(table, pair, options, kept, run.seed)]
    figures: dict[str, Any] = {"architectures": len(table), "regret of hypervolume": rows}
    if options.quantile:
        figures |= {f"under a budget at the {options.quantile:.0%} quantile": bounded(table, pairs, options, kept, run)}
    return figures


def bounded(table: Table, pairs: list[str], options: argparse.Namespace, kept: Kept, run: Run) -> list[dict[str, Any]]:
    """The same inside the rows that keep a budget on the last objective."""
    rows = []
    for pair in pairs:
        cost = list(directions(pair, {}))[-1]
        limit = float(np.quantile(table.column(cost), options.quantile))
        inside = table.within(f"{cost}<={limit!r}")
        broken = float((inside.column(cost) > limit).mean())
        rows += [{"broken": broken, **row} for row in compare(inside, pair, options, kept, run.seed)]
    return rows


if __name__ == "__main__":
    own = argparse.ArgumentParser(add_help=False, allow_abbrev=False)  # --seed is not --seeds
    own.add_argument("--table", help="parquet or CSV file; needed but for --quick")
    own.add_argument("--sites", default="op_*", help="columns that hold choices, joined by commas; patterns allowed")
    own.add_argument("--where", default="", help='rows that count, such as "connected>=1"')
    own.add_argument("--pairs", nargs="+", default=["c10_val:max, lat_pixel3_ms"], help="objectives, one pair a word")
    own.add_argument(
        "--samplers",
        default="+".join(SAMPLERS),
        help='joined by +; also "surrogate, told" and "surrogate, costs known"',
    )
    own.add_argument("--known", default="c10_params,c10_mflops", help='columns that "surrogate, told" is told')
    own.add_argument("--seeds", type=int, default=20)
    own.add_argument("--gp-seeds", type=int, default=5, help="of Optuna's GP, which takes seconds a proposal")
    own.add_argument("--gp-evaluations", type=int, default=100)
    own.add_argument("--quantile", type=float, default=0.0, help="also search under a budget at this quantile")
    own.add_argument("--folder", type=Path, default=Path("runs/search-benchmark"), help="where runs are kept")
    chosen, rest = own.parse_known_args()
    if chosen.table is None and "--quick" not in rest and "--help" not in rest and "-h" not in rest:
        own.error("give --table, a file with every architecture of a space, or --quick")
    main("search", "the surrogate sampler needs the fewest evaluations", lambda run: measure(run, chosen), rest)

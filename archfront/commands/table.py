"""archfront search --evaluator table:FILE: the search in a table of finished experiments."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from .common import print_json, print_table

if TYPE_CHECKING:
    from archfront.search.progress import Reporter
    from archfront.search.study import Study
    from archfront.search.tables import Replay

SCHEME = "table:"
"""How --evaluator names a table: table:FILE, parquet or .csv."""

USED = ("evaluator", "sites", "known", "objectives", "budget", "trials", "sampler", "seed", "storage")
"""The options of a search that mean something for a table: there are no networks to train, measure or export."""


@dataclass(frozen=True)
class Settings:
    """What a table is searched for."""

    file: Path
    sites: str
    known: tuple[str, ...]
    objectives: str
    budget: str
    trials: int
    sampler: str
    population: int
    seed: int
    storage: str

    @staticmethod
    def of(options: Mapping[str, Any]) -> Settings:
        """From the options of the command line, None where one was not given.

        Raises:
            BadParameter: an option that means nothing for a table, or no objectives.
        """
        from archfront.search.config import validate

        given = {name: value for name, value in options.items() if value is not None}
        for name in given.keys() - set(USED):
            raise typer.BadParameter(
                "means nothing where a table is searched", param_hint=f"--{name.replace('_', '-')}"
            )
        if "objectives" not in given:
            raise typer.BadParameter('say which columns, such as "accuracy:max, latency_ms"', param_hint="--objectives")
        changed = {name: given[name] for name in ("trials", "sampler") if name in given}
        search = validate({"search": changed}, lambda keys: f"--{keys[-1]}").search
        return Settings(
            file=Path(given["evaluator"].removeprefix(SCHEME)),
            sites=given.get("sites", ""),
            known=tuple(given.get("known", ())),
            objectives=", ".join(given["objectives"]),
            budget=given.get("budget", ""),
            trials=search.trials,
            sampler=search.sampler,
            population=search.population,
            seed=given.get("seed", 0),
            storage=given.get("storage", ""),
        )

    def facts(self) -> dict[str, Any]:
        """What must be the same when the search goes on; the file by its content, wherever it lies by then."""
        from archfront.evaluators.table import TableError

        if not self.file.is_file():
            raise TableError(f"no such file: {self.file}")
        return {
            "table": hashlib.sha256(self.file.read_bytes()).hexdigest()[:16],
            "sites": self.sites,
            "objectives": self.objectives,
            "budget": self.budget,
            "sampler": self.sampler,
            "seed": self.seed,
        } | ({"known": ", ".join(self.known)} if self.known else {})


def search_table(
    options: Mapping[str, Any], folder: Path | None, name: str | None, reporter: Reporter, as_json: bool
) -> None:
    """Search, or go on, print the front, and write results.parquet and report.html beside the journal of trials."""
    from archfront.options import RUNS
    from archfront.reports import table as page
    from archfront.search.study import Study, StudyError

    settings = Settings.of(options)
    study = Study(folder or RUNS / (name or settings.file.stem))
    if study.config_file.exists():
        raise StudyError(f"{study.path} holds a search of networks; choose another name for that of a table")
    facts = settings.facts()
    found = _prepared(settings)
    with study.locked():
        study.remember(**facts)
        _run(found, settings, study, reporter)
        results = found.results()
        study.results_file.parent.mkdir(parents=True, exist_ok=True)
        results.to_parquet(study.results_file, index=False)
        page.write(found, study.path.name, {"file": settings.file.name, **facts, "trials": settings.trials},
                   study.report_file)  # fmt: skip
    show(found, study, as_json)


def _prepared(settings: Settings) -> Replay:
    """The rows that keep the budget, none of them evaluated."""
    from archfront.evaluators.table import NothingKeptError, Table, directions
    from archfront.hw_profiles.metrics import METRICS
    from archfront.search.budget import BudgetError
    from archfront.search.tables import Replay

    known = {name: metric.direction for name, metric in METRICS.items()}
    sites = [item.strip() for item in settings.sites.split(",") if item.strip()]
    try:
        table = Table.read(settings.file, sites).within(settings.budget)
    except NothingKeptError as error:
        raise BudgetError(str(error)) from None
    return Replay(table, directions(settings.objectives, known), settings.seed)


def _run(found: Replay, settings: Settings, study: Study, reporter: Reporter) -> None:
    """Evaluate what is not in the storage yet."""
    from archfront.search.samplers import make_sampler
    from archfront.search.storage import SCHEME as JOURNAL
    from archfront.search.storage import explained, open_storage
    from archfront.search.tables import Rows

    url = settings.storage or f"{JOURNAL}{study.path / 'study.journal'}"
    sampler = make_sampler(settings.sampler, settings.population, settings.seed, Rows(found, settings.known))
    with explained(url, "use the storage"), reporter.track("Searching the table", settings.trials) as advance:
        found.run(found.study(sampler, open_storage(url)), settings.trials, advance)
        advance(settings.trials, "")


def show(found: Replay, study: Study, as_json: bool) -> None:
    """Print the front, what is missing of it, and where the files are."""
    from archfront.reports.table import summary

    results = found.results()
    names = list(found.objectives)
    front = results[results["front"]].sort_values(names[0])
    columns = ["trial", *found.table.sites, *names, "origin"]
    if as_json:
        print_json(
            {
                "study": study.path,
                "rows": len(found.table),
                "evaluated": len(results),
                "reference": dict(zip(names, found.reference.tolist(), strict=True)),
                "regret": float(results["regret"].iloc[-1]),
                "front": front[columns].to_dict("records"),
                "report": study.report_file,
                "results": study.results_file,
            }
        )
        return
    rows = [[f"{value:g}" if isinstance(value, float) else value for value in row] for row in front[columns].to_numpy()]
    print_table(columns, rows, right=["trial", *names])
    typer.echo(f"\n{summary(found)}")
    typer.echo(f"Report: {study.report_file}")

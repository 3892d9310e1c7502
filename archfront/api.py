"""Searching, looking at what was found, and exporting it, from Python; the command line calls the same functions."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from archfront.reports import report as page
from archfront.reports.export import ExportResult
from archfront.reports.report import ReportData
from archfront.reports.results import load_results, write_results
from archfront.search.budget import BudgetError
from archfront.search.config import StudyConfig, dump
from archfront.search.engine import Search
from archfront.search.progress import Reporter, Silent
from archfront.search.study import Study, StudyError
from archfront.space.files import write_text
from archfront.space.space import Space

from .finalists import default_name, export_network, finalist_of
from .options import base_config, check_known, configure, default_folder, find_study, folder_of

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Result:
    """What a study found; of an unfinished one, so far."""

    study: Study

    @cached_property
    def data(self) -> ReportData:
        """Everything that the report shows."""
        return load_results(self.study)

    @property
    def trials(self) -> pd.DataFrame:
        """Every candidate, a row each; a metric `m` has the columns m, m.provenance, m.spread and m.samples."""
        return self.data.trials

    @property
    def front(self) -> pd.DataFrame:
        """The members of the front as measured, best accuracy first; none before the search is finished."""
        trials = self.trials[self.trials["front"].astype(bool)]
        return trials.sort_values("accuracy", ascending=False) if len(trials) else trials

    @property
    def picked(self) -> int | None:
        """The number of the most accurate network within the budget; None before the search is finished."""
        numbers = self.trials.loc[self.trials["picked"].astype(bool), "number"]
        return int(numbers.iloc[0]) if len(numbers) else None

    def report(self, path: str | Path | None = None) -> Path:
        """Write the report as one HTML file, report.html in the folder of the study by default."""
        path = Path(path or self.study.report_file)
        page.write(self.data, path)
        return path

    def export(
        self, pick: int | None = None, directory: str | Path | None = None, name: str | None = None
    ) -> ExportResult:
        """Write a network, the picked one by default, as Python source, weights, ONNX and model card.

        Args:
            pick: the number of a trial. Finalists come fine-tuned, others with the weights that they were rated with.
            directory: by default exports/ in the folder of the study.
            name: of the files and of the function that builds the network.

        Raises:
            StudyError: there is no such trial, or it failed.
        """
        return export_network(self.study, pick, Path(directory or self.study.exports), name)


def load(study: str | Path) -> Result:
    """The results of the study in a folder, or called so in ./runs; finished or not."""
    return Result(find_study(study))


def run(
    *,
    space: str | Space | None = None,
    data: str | None = None,
    budget: str | None = None,
    device: str | None = None,
    study: str | Path | None = None,
    config: StudyConfig | str | Path | None = None,
    reporter: Reporter | None = None,
    threads: int = 1,
    **options: Any,
) -> Result:
    """Search, or go on with a search; writes results.parquet, report.html and the exported best network.

    The same call resumes after an interruption, and gives the result at once after the search was finished.

    Args:
        space: a ready space, a .yaml/.json file, "file.py:name", or a `Space` (kept as space.json in the study).
        data: "digits", an image folder, parquet, .npz, or IDX files.
        budget: such as "latency<=5ms, params<=2M".
        device: the profile that latency is measured on.
        study: the folder, or the name in ./runs of an existing one; by default runs/SPACE-DATA. What is not given here
            is taken from the study if it exists.
        config: a study.toml, or a `StudyConfig`, that the other arguments change.
        reporter: where progress goes; nowhere by default.
        threads: of torch, while searching. One is fastest for small networks on most processors.
        options: more settings by their short names (`archfront.options.SHORT`: trials, sampler, epochs, ...), or
            sections of study.toml as mappings: `latency={"seconds": 20}`.

    Raises:
        BudgetError: nothing in the space keeps the budget; names what comes nearest.
        ArchfrontError: other bad input, or a study that cannot be used.
    """
    given = {"data": data, "budget": budget, "device": device, **options}
    folder = None if study is None else folder_of(study)
    if folder is not None:
        check_known(folder, (config, space, *given.values()))
    if isinstance(space, Space):
        if folder is None:
            raise StudyError("a Space object needs study=...: the folder where the space is kept")
        space = _kept(space, folder)
    settings = configure(base_config(config, folder), {"space": space, **given})
    return search(Study(folder or default_folder(settings)), settings, reporter or Silent(), threads)


def search(study: Study, config: StudyConfig, reporter: Reporter, threads: int = 1) -> Result:
    """What `run` does, once it is clear where and with which settings."""
    finished = _finished(study, config)
    if not finished:
        _search(study, config, reporter, threads)
    result = Result(study)
    card = study.exports / f"{default_name(study, finalist_of(study))}.json"
    steps = (
        ("Writing results", study.results_file, lambda: write_results(study, result.data)),
        ("Writing the report", study.report_file, result.report),
        ("Exporting the best", card, result.export),
    )
    for title, file, make in steps:
        if not finished or not file.exists():
            with reporter.track(title, 1) as advance:
                make()
                advance(1, "")
    if not finished:
        write_text(_marker(study), dump(config))
    return result


def _search(study: Study, config: StudyConfig, reporter: Reporter, threads: int) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        Search(study, config, reporter).run()
    except BudgetError:
        if (
            study.final_file.exists()
        ):  # networks were measured and none kept the budget: the report shows how near they came
            reporter.note(f"Report: {Result(study).report()}")
        raise
    finally:
        torch.set_num_threads(before)


def _marker(study: Study) -> Path:
    """Holds the settings with which the study was last carried to the end."""
    return study.path / "finished.toml"


def _finished(study: Study, config: StudyConfig) -> bool:
    return _marker(study).exists() and _marker(study).read_text() == dump(config) and study.config == config


def _kept(space: Space, folder: Path) -> str:
    """Keep a space in the folder of its study; the name of the file."""
    file = folder / "space.json"
    text = json.dumps(space.to_dict(), indent=1) + "\n"
    if file.exists() and file.read_text() != text and Study(folder).begun:
        raise StudyError(f"{folder} was started on another space ({file}); choose another folder")
    write_text(file, text)
    return str(file)

"""The rank audit: does the study's supernet order architectures as training them alone does?

Some architectures are trained from scratch, rated by the supernet, by their cost and by zero-cost proxies, and the
orders are compared. Validation images only; the test split is not touched.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import torch

from archfront.evaluators.proxies import ProxyScores
from archfront.evaluators.stand_alone import StandAlone
from archfront.evaluators.task import NonFiniteError
from archfront.evaluators.train import Diverged, Recipe
from archfront.hw_profiles.cost import cost
from archfront.space.architecture import Architecture
from archfront.space.errors import ArchfrontError
from archfront.space.files import replace_file, write_text

from .audit_figures import COUNTS, Network, compare, plain
from .cluster.connection import connect
from .cluster.trainings import Trainings
from .config import StudyConfig, recipe_in
from .engine import Search
from .progress import Reporter, Silent
from .spread import spread_over_cost, within_band
from .study import Study, StudyError, read_json


@dataclass(frozen=True)
class AuditOptions:
    """What is trained for an audit.

    Args:
        archs: architectures spread over the whole range of cost.
        narrow: architectures within a narrow band of cost, where counting multiply-adds does not help.
        band: how narrow: the largest relative difference from the middle.
        seeds: trainings of each architecture; two or more say how much of the order is chance.
        epochs: of each training; by default those of the supernet.
    """

    archs: int = 32
    narrow: int = 0
    band: float = 0.1
    seeds: int = 2
    epochs: int | None = None

    def __post_init__(self) -> None:
        if self.archs < 4 or (self.narrow and self.narrow < 4):
            raise ArchfrontError(
                "an audit needs 4 architectures or more to order (32 for intervals that say something)"
            )
        if self.seeds < 1 or not 0 < self.band < 1 or (self.epochs is not None and self.epochs < 1):
            raise ArchfrontError("an audit needs 1 seed or more, 1 epoch or more, and a band between 0 and 1")


@dataclass
class Audit:
    """One audit of a study, resumable: trainings that are done are kept in the folder of the study.

    Args:
        search: of the study; what is missing up to the trained supernet is done first.
        options: what to train.
        where: settings that say where networks are trained; by default those of the study.
    """

    search: Search
    options: AuditOptions
    where: StudyConfig | None = None

    def run(self) -> dict[str, Any]:
        """Everything; writes audit.json and audit.parquet, and gives what audit.json holds.

        Several processes may do this on one study: one prepares it while the others wait, then all train.
        """
        search, study = self.search, self.search.study
        with study.locked(search.reporter.note):
            search.prepare()
        self._train()
        with study.locked(search.reporter.note):
            found = self._found()
            write_text(study.audit_file, json.dumps(found, indent=1) + "\n")
            write_table(study, found)
        return found

    def _found(self) -> dict[str, Any]:
        networks, failed = self._networks()
        data, rating = self.search.data, self.search.config.rating
        return {
            "options": {**asdict(self.options), "epochs": self.recipe.epochs},
            "data": {"name": data.name, "train": len(data.train), "validation": len(data.validation)},
            "rule": self.search.config.supernet.rule,
            "rating": rating,
            "groups": [compare(name, [n for n in networks if n.group == name], rating) for name in self.groups],
            "networks": [plain(network) for network in networks],
            "failed": failed,
        }

    @cached_property
    def groups(self) -> dict[str, list[Architecture]]:
        """The architectures to train, by group."""
        search, options = self.search, self.options
        within = {"seed": search.config.seed, "bounds": search.region.bounds, "accepts": search.region.accepts}
        found = {"spread": spread_over_cost(search.space, options.archs, **within)}  # type: ignore[arg-type]
        if options.narrow:
            found["narrow"] = within_band(search.space, options.narrow, options.band, **within)  # type: ignore[arg-type]
        return found

    @cached_property
    def recipe(self) -> Recipe:
        """How networks are trained alone: as the supernet is, but for the number of epochs."""
        own = self.search.config.supernet
        return recipe_in(own, epochs=self.options.epochs or own.epochs)

    @cached_property
    def alone(self) -> StandAlone:
        """What was trained alone."""
        return StandAlone(self.search.study.path / "audit", self.search.data, self.search.task, self.recipe)

    def _train(self) -> None:
        """Train what no other process is training, until nothing is left to begin; on a cluster, until all is done."""
        every = {architecture for architectures in self.groups.values() for architecture in architectures}
        todo = [(a, seed) for seed in range(self.options.seeds) for a in sorted(every, key=lambda a: a.digest)]
        with self.search.reporter.track("Training networks alone", len(todo)) as advance:
            for number, _ in enumerate(self._trained(todo)):
                advance(number + 1, "")

    def _trained(self, todo: Sequence[tuple[Architecture, int]]) -> Iterator[None]:
        """Train these, telling of each that is over."""
        where = self.where or self.search.config
        if where.backend == "local":
            for architecture, seed in todo:
                self.alone.train(architecture, seed)
                yield
            return
        cluster, left = where.cluster, [pair for pair in todo if self.alone.goal(*pair) is not None]
        yield from [None] * (len(todo) - len(left))
        if not left:
            return
        with connect(cluster.address, cluster.workers) as found:
            trainings = Trainings(found, self.alone, self.search.space, workers=cluster.workers, gpus=cluster.gpus)
            with closing(trainings):
                for training in trainings.every(left):
                    if training.error is not None:
                        raise training.error
                    yield

    def _networks(self) -> tuple[list[Network], list[dict[str, str]]]:
        """Every architecture with its accuracies and ratings, and those whose training failed with the reason."""
        trained, failed = [], []
        for group, architectures in self.groups.items():
            for architecture in architectures:
                try:
                    seeds = range(self.options.seeds)
                    accuracies = tuple(self.alone.accuracy(architecture, seed).value for seed in seeds)
                except Diverged as error:
                    failed.append({"digest": architecture.digest, "reason": str(error)})
                    continue
                trained.append((group, architecture, accuracies))
        return rate(self.search, trained), failed


def rate(search: Search, trained: Sequence[tuple[str, Architecture, tuple[float, ...]]]) -> list[Network]:
    """The ratings of architectures that were trained alone, given as (group, architecture, accuracies)."""
    proxies, own = ProxyScores(search.data.train, search.task), search.config.rating
    rated = []
    with search.reporter.track("Rating them", len(trained)) as advance:
        for group, architecture, accuracies in trained:
            counted = cost(architecture)
            ratings = {name: float(getattr(counted, name)) for name in COUNTS}
            ratings |= {name: m.value for name, m in proxies.evaluate(architecture).items()}
            try:
                ratings[own] = search.raters.shared.evaluate(architecture)[own].value
            except (Diverged, NonFiniteError):
                ratings[own] = math.nan  # ranks last
            rated.append(Network(architecture, group, accuracies, ratings))
            advance(len(rated), "")
    return rated


def write_table(study: Study, found: Mapping[str, Any]) -> None:
    """Write audit.parquet: one row a network."""
    import pandas as pd

    rows = [
        {
            "digest": network["digest"],
            "group": network["group"],
            "architecture": json.dumps(network["architecture"]),
            "accuracy": network["accuracy"],
            **{f"accuracy.{seed}": value for seed, value in enumerate(network["accuracies"])},
            **network["ratings"],
        }
        for network in found["networks"]
    ]
    replace_file(
        study.audit_file.with_suffix(".parquet"), lambda path: pd.DataFrame(rows).to_parquet(path, index=False)
    )


def audit_study(
    study: Study,
    options: AuditOptions,
    reporter: Reporter | None = None,
    threads: int = 1,
    where: StudyConfig | None = None,
) -> dict[str, Any]:
    """Run or resume an audit of a study; see `Audit`.

    Raises:
        StudyError: the study has no supernet.
    """
    config = study.config
    if config.evaluator != "supernet":
        raise StudyError(
            f"{study.path} has no supernet to audit: its candidates are rated by evaluator = {config.evaluator!r}"
        )
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        return Audit(Search(study, config, reporter or Silent()), options, where).run()
    finally:
        torch.set_num_threads(before)


def load_audit(study: Study) -> dict[str, Any] | None:
    """What the last audit of a study found; None where there was none.

    Raises:
        StudyError: the file is damaged.
    """
    return read_json(study.audit_file) if study.audit_file.exists() else None

"""Networks trained alone on a cluster: the same to the last bit as here, whoever is killed meanwhile."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from archfront.evaluators.accuracy import SupernetAccuracy
from archfront.evaluators.stand_alone import StandAlone
from archfront.evaluators.train import Recipe
from archfront.evaluators.trainer import Trainer
from archfront.search.audit import AuditOptions, audit_study
from archfront.search.cluster.connection import Cluster, ClusterError
from archfront.search.cluster.trainings import RETRIES, Training, Trainings
from archfront.search.config import AloneConfig, ClusterConfig, FinalConfig, SearchConfig
from archfront.search.engine import Search
from archfront.search.final import load_finalists
from archfront.search.progress import Silent
from archfront.search.study import Study
from archfront.space.architecture import Architecture

from ...forks import wait_until
from ..conftest import keep_table, quick, study_at

RECIPE = Recipe(epochs=20)
PIECE = 0.2


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """As on the workers: sums are made in the same order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def records(rating: SupernetAccuracy, folder: Path) -> StandAlone:
    return StandAlone(folder, rating.data, rating.task, RECIPE)


@pytest.fixture(scope="session")
def wanted(rating: SupernetAccuracy) -> list[tuple[Architecture, int]]:
    """Trainings, with seeds."""
    architectures = {rating.supernet.space.sample(seed) for seed in range(12)}
    return [(a, seed) for a in sorted(architectures, key=lambda a: a.digest)[:2] for seed in range(2)]


@pytest.fixture(scope="session")
def expected(
    rating: SupernetAccuracy, wanted: list[tuple[Architecture, int]], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """The records of the same trainings in this process, by file name."""
    torch.set_num_threads(1)
    alone = records(rating, tmp_path_factory.mktemp("here"))
    for architecture, seed in wanted:
        alone.train(architecture, seed)
    return kept(alone.folder)


def kept(folder: Path) -> dict[str, str]:
    return {file.name: file.read_text() for file in folder.glob("*/*.json")}


def workers() -> list[int]:
    """The processes that train."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes()
        except OSError:
            continue  # it has ended
        if command.startswith(b"ray::train_piece"):
            found.append(int(folder.name))
    return found


def test_records_are_the_same_as_those_of_trainings_here(
    cluster: Cluster,
    rating: SupernetAccuracy,
    wanted: list[tuple[Architecture, int]],
    expected: dict[str, str],
    tmp_path: Path,
) -> None:
    alone = records(rating, tmp_path)
    trainings = Trainings(cluster, alone, rating.supernet.space, seconds=PIECE)
    assert trainings.room == 2
    assert {(t.architecture, t.seed) for t in trainings.every(wanted)} == set(wanted)
    assert kept(tmp_path) == expected
    assert not list(tmp_path.glob("*/checkpoints/*"))
    assert not trainings.busy


def test_workers_and_a_node_that_die_cost_no_training(
    nodes: Any,
    cluster: Cluster,
    rating: SupernetAccuracy,
    wanted: list[tuple[Architecture, int]],
    expected: dict[str, str],
    tmp_path: Path,
) -> None:
    node = nodes.add_node(num_cpus=2, object_store_memory=100 << 20)
    wait_until(lambda: cluster.cpus == 4)
    trainings = Trainings(cluster, records(rating, tmp_path), rating.supernet.space, seconds=PIECE)
    for each in wanted:
        trainings.submit(*each)
    wait_until(workers)
    os.kill(workers()[0], signal.SIGKILL)
    while not list(tmp_path.glob("*/checkpoints/*.safetensors")):
        trainings._turn()
    nodes.remove_node(node, allow_graceful=False)
    over: list[Training] = []
    while trainings.busy:
        over += trainings.collect()
    assert len(over) == len(wanted)
    assert all(training.error is None for training in over)
    wait_until(lambda: cluster.cpus == 2)
    assert kept(tmp_path) == expected


def test_a_training_that_kills_its_workers_is_given_up_with_the_reason(
    cluster: Cluster, rating: SupernetAccuracy, wanted: list[tuple[Architecture, int]], tmp_path: Path
) -> None:
    class Deadly(Trainer):
        """Travels by value, being defined here."""

        def advance(self, *args: object) -> None:  # type: ignore[override]
            os.kill(os.getpid(), signal.SIGKILL)

    alone = records(rating, tmp_path)
    alone.__dict__["trainer"] = Deadly(rating.data.train, rating.data.validation, rating.task, RECIPE)
    trainings = Trainings(cluster, alone, rating.supernet.space, seconds=PIECE)
    trainings.submit(*wanted[0])
    (training,) = trainings.collect()
    assert isinstance(training.error, ClusterError)
    assert f"{RETRIES + 1} worker processes died" in str(training.error)


def test_what_another_process_trains_is_waited_for(
    cluster: Cluster, rating: SupernetAccuracy, wanted: list[tuple[Architecture, int]], tmp_path: Path
) -> None:
    alone, other = records(rating, tmp_path), records(rating, tmp_path)
    trainings = Trainings(cluster, alone, rating.supernet.space, seconds=PIECE)
    with other.claimed(*wanted[0]) as mine:
        assert mine
        trainings.submit(*wanted[0])
        trainings._turn()
        assert trainings.busy and not workers()
        other._train(*wanted[0])
    (training,) = trainings.collect()
    assert training.error is None
    assert training.seconds == 0


# --------------------------------------------------------------------------- audits and searches


@pytest.mark.slow
def test_an_audit_whose_driver_is_killed_goes_on_from_the_checkpoints_in_the_study(
    own_file: Path, tmp_path: Path
) -> None:
    config = quick(own_file, backend="ray", cluster=ClusterConfig(workers=2))
    search = Search(study_at(tmp_path / "study", config), config, Silent())
    search.prepare()
    keep_table(search)
    study, here = search.study, study_at(tmp_path / "here", config)
    here.settle(config)
    command = [sys.executable, "-m", "archfront", "audit", str(study.path), "--archs", "4", "--epochs", "12", "--quiet"]
    driver = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    wait_until(lambda: len(done(study)) >= 2 or driver.poll() is not None, 300)
    driver.kill()
    driver.wait()
    before = done(study)
    assert 2 <= len(before) < 8
    assert subprocess.run(command, check=False, stdout=subprocess.DEVNULL).returncode == 0
    after = done(study)
    assert before.items() <= after.items()
    local = config.model_copy(update={"backend": "local"})
    audit_study(here, AuditOptions(archs=4, epochs=12), where=local)
    assert after == done(here)


def done(study: Study) -> dict[str, str]:
    """The records of trainings that are over."""
    return {name: text for name, text in kept(study.path / "audit").items() if '"accuracy"' in text}


def test_a_search_trains_candidates_on_the_cluster_and_stops_what_is_dominated(
    cluster: Cluster, own_file: Path, tmp_path: Path
) -> None:
    config = quick(
        own_file,
        evaluator="alone",
        backend="ray",
        alone=AloneConfig(epochs=8, eta=2),
        search=SearchConfig(trials=16, population=4),
        final=FinalConfig(epochs=0, members=2),
    )
    search = Search(study_at(tmp_path, config), config, Silent())
    search.run()
    trials = search.log.trials
    assert len(trials) == len({trial.architecture for trial in trials}) == 16
    assert all(trial.complete for trial in trials)
    whole = [trial for trial in trials if not trial.stopped]
    assert 0 < len(whole) < 16
    numbers = {trial.number for trial in whole}
    assert all(finalist.number in numbers for finalist in load_finalists(search.study))
    again = StandAlone(tmp_path / "again", search.data, search.task, search.raters.alone.recipe)
    for trial in whole[:2]:
        assert trial.measurements["alone_accuracy"] == again.accuracy(trial.architecture, config.seed)

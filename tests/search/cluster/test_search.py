"""A whole search on a cluster: the trials are those of this process, whatever is killed."""

from __future__ import annotations

import importlib
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from archfront.hw_profiles.cost import cost
from archfront.search.cluster.backend import RayBackend
from archfront.search.config import ClusterConfig, SearchConfig, dump
from archfront.search.engine import Search
from archfront.search.final import load_finalists
from archfront.search.progress import Silent
from archfront.search.study import Study
from archfront.search.trials import Trial

from ...forks import wait_until
from ..conftest import keep_table, quick, study_at
from .conftest import drop

TRIALS = 20


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory, space_file: Path) -> Search:
    """A study with its latency table and trained supernet, and nothing evaluated yet."""
    config = quick(space_file, search=SearchConfig(trials=TRIALS, population=4))
    search = Search(study_at(tmp_path_factory.mktemp("prepared") / "study", config), config, Silent())
    search.prepare()
    keep_table(search)
    return search


def again(prepared: Search, folder: Path, **changes: Any) -> Search:
    """The prepared search with some settings changed, in a folder of its own."""
    path = folder / prepared.study.path.name  # the name of a study in its storage is that of its folder
    shutil.copytree(prepared.study.path, path, ignore=shutil.ignore_patterns("study.journal*"))
    return Search(Study(path), prepared.config.model_copy(update=changes), Silent())


def explored(search: Search) -> list[Trial]:
    search.prepare()
    search.explore()
    return search.log.trials


def facts(trials: list[Trial]) -> list[Any]:
    """Everything about trials but the time they took."""
    return [(t.number, t.architecture, t.measurements, t.reason, t.origin, t.choices) for t in trials]


@pytest.mark.parametrize(("workers", "ahead"), [(1, 1), (2, 2)])
def test_a_cluster_gives_the_trials_of_this_process(
    prepared: Search, nodes: Any, tmp_path: Path, workers: int, ahead: int
) -> None:
    """With one candidate under way those of a plain search, with more those of one that chooses as far ahead."""
    there = ClusterConfig(address=nodes.address, workers=workers, ahead=ahead)
    remote = explored(again(prepared, tmp_path / "ray", backend="ray", cluster=there))
    here = explored(again(prepared, tmp_path / "local", cluster=there))
    assert facts(remote) == facts(here)
    assert len({trial.architecture for trial in remote}) == TRIALS
    if ahead * workers == 1:
        assert facts(explored(again(prepared, tmp_path / "plain"))) == facts(remote)


def test_a_search_loses_two_workers_and_a_node_and_ends_as_if_nothing_had_been(
    prepared: Search, nodes: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    third = [nodes.add_node(num_cpus=1, object_store_memory=80 << 20) for _ in range(2)][-1]
    there = ClusterConfig(address=nodes.address, workers=4)
    killed: list[int] = []
    collect = RayBackend.collect

    def disturbed(self: RayBackend) -> Any:
        found = collect(self)
        on_third = [place for place in self.places if place.node == third.node_id]
        elsewhere = [place for place in self.places if place.node != third.node_id]
        if len(killed) < 2 and elsewhere:
            os.kill(elsewhere[0].process, signal.SIGKILL)
            killed.append(elsewhere[0].process)
        elif len(killed) == 2 and on_third:
            os.kill(third.all_processes["raylet"][0].process.pid, signal.SIGKILL)
            killed.append(on_third[0].process)
        return found

    monkeypatch.setattr(RayBackend, "collect", disturbed)
    wide = prepared.config.search.model_copy(update={"trials": 40})
    remote = explored(again(prepared, tmp_path / "ray", backend="ray", cluster=there, search=wide))
    assert len(killed) == 3
    here = explored(again(prepared, tmp_path / "local", cluster=there, search=wide))
    assert facts(remote) == facts(here)
    for node in list(nodes.worker_nodes):
        drop(nodes, node)


@pytest.mark.slow
def test_a_killed_search_leaves_the_cluster_free_and_goes_on(prepared: Search, nodes: Any, tmp_path: Path) -> None:
    wide = prepared.config.search.model_copy(update={"trials": 45})
    there = ClusterConfig(address=nodes.address, workers=2)
    search = again(prepared, tmp_path, backend="ray", cluster=there, search=wide)
    with started(search) as driver:
        wait_until(lambda: len(stored(search)) >= 5, 60)
        driver.kill()
        driver.wait()
    before = stored(search)
    assert 5 <= len(before) < 45
    trials = explored(search)  # on two CPUs that the workers of the killed one would still hold
    assert [trial.architecture.digest for trial in trials][: len(before)] == before
    assert len(trials) == len({trial.architecture for trial in trials}) == 45
    for trial in trials[::9]:
        assert trial.values["params"] == cost(trial.architecture).params
        rated = search.raters.shared.evaluate(trial.architecture)["supernet_accuracy"]
        assert rated == trial.measurements["supernet_accuracy"]


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_search_on_a_cluster_of_its_own_leaves_no_process_behind(
    prepared: Search, tmp_path: Path, how: signal.Signals
) -> None:
    """Interrupted as a terminal does it: every process of the group gets the signal."""
    wide = prepared.config.search.model_copy(update={"trials": 45})
    search = again(prepared, tmp_path, backend="ray", cluster=ClusterConfig(workers=2), search=wide)
    with started(search) as driver:
        wait_until(lambda: len(stored(search)) >= 3, 90)
        children = descendants(driver.pid)
        assert len(children) > 3
        os.killpg(driver.pid, how)
        printed = driver.communicate(timeout=60)[1]
    assert driver.returncode == 130
    assert "go on with" in printed and "Traceback" not in printed
    wait_until(lambda: not any(child.is_running() for child in children), 20)
    assert len(explored(search)) == 45


@pytest.mark.slow
def test_a_killed_driver_takes_its_own_cluster_with_it(prepared: Search, tmp_path: Path) -> None:
    wide = prepared.config.search.model_copy(update={"trials": 45})
    search = again(prepared, tmp_path, backend="ray", cluster=ClusterConfig(workers=2), search=wide)
    with started(search) as driver:
        wait_until(lambda: len(stored(search)) >= 3, 90)
        children = descendants(driver.pid)
        driver.kill()
        driver.wait()
    wait_until(lambda: not any(child.is_running() for child in children), 180)  # its agents look seldom


@pytest.mark.slow
def test_the_command_searches_on_a_cluster_to_the_end(prepared: Search, nodes: Any, tmp_path: Path) -> None:
    search = again(prepared, tmp_path)
    options = ["--backend", "ray", "--cluster", nodes.address, "--workers", "2"]
    with started(search, *options) as driver:
        printed, errors = driver.communicate(timeout=300)
    assert driver.returncode == 0, errors
    assert "Report:" in printed
    assert len(load_finalists(search.study)) == 2
    assert search.study.config.backend == "ray" and search.study.config.cluster.workers == 2


SCRIPT = '''
import sys

from torch import nn

import archfront
from archfront.space import Gate, Image, Network, Space, Stage, one_of
from archfront.space.library.block.mbconv import MBConv
from archfront.space.library.head.classifier import Classifier
from archfront.space.library.stem.convolution import ConvStem


class ThirdModule(nn.Module):
    def forward(self, x):
        return x / 3


class Third(Gate):
    """A gate that is defined in the script itself."""

    def build(self, x):
        return ThirdModule()


stage = Stage(width=one_of(8, 16), block=MBConv(kernel=one_of(3, 5), gate=one_of(None, Third())))
network = Network(stem=ConvStem(width=8), stages=(stage,), head=Classifier(classes=10))
result = archfront.run(
    space=Space(Image(1, 8, 8), network), data="digits", study=sys.argv[1], backend="ray", workers=1, trials=8, limit=300,
    epochs=1, final_epochs=1, members=1,
    latency={"blocks": 20, "calibration": 4, "seconds": 2, "processes": 1, "final_seconds": 1},
)
print(*result.trials["state"])
'''


@pytest.mark.slow
def test_blocks_of_a_script_are_known_to_workers(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    command = [sys.executable, "script.py", "study"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert done.stdout.split() == ["complete"] * 8, done.stderr


def stored(search: Search) -> list[str]:
    """The architectures in the journal of a study, in order."""
    if not (search.study.path / "study.journal").exists():
        return []
    return [t.architecture.digest for t in Search(search.study, search.config, Silent()).log.trials]


def descendants(process: int) -> list[Any]:
    """The processes that a process started, and those that they did."""
    importlib.import_module("ray")  # brings psutil along
    found: list[Any] = importlib.import_module("psutil").Process(process).children(recursive=True)
    return found


class started:  # noqa: N801 - reads as a verb
    """The command, searching in another process group; ended for good with the block."""

    def __init__(self, search: Search, *options: str) -> None:
        file = search.study.path / "asked.toml"
        file.write_text(dump(search.config))
        command = [
            sys.executable,
            "-m",
            "archfront",
            "search",
            "--study",
            str(search.study.path),
            "--config",
            str(file),
        ]
        self.driver = subprocess.Popen(
            [*command, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )

    def __enter__(self) -> subprocess.Popen[str]:
        return self.driver

    def __exit__(self, *error: object) -> None:
        if self.driver.poll() is None:
            os.killpg(self.driver.pid, signal.SIGKILL)
            self.driver.wait()

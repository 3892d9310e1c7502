"""Several processes explore one study together, whatever its storage; one may die."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from archfront.search.config import SearchConfig, StudyConfig
from archfront.search.engine import Search
from archfront.search.final import load_finalists
from archfront.search.progress import Silent

from ..forks import ended, killed, wait_until
from .conftest import keep_table, study_at
from .test_kill import start

TRIALS = 60


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A PostgreSQL server of its own; gives the URL of a database in it."""
    pytest.importorskip("psycopg", reason="the driver is not installed: pip install 'archfront[postgresql]'")
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    found = shutil.which("initdb") or (programs and programs[-1] / "initdb")
    if not found:
        pytest.skip("PostgreSQL is not installed (Debian: apt-get install postgresql)")
    folder = tmp_path_factory.mktemp("postgres")
    # the server refuses to run as root
    user = ["setpriv", "--reuid=nobody", "--clear-groups"] if os.getuid() == 0 else []
    if user:
        for parent in (folder, *folder.parents[:3]):
            parent.chmod(0o755)
        shutil.chown(folder, "nobody")
    data, port = folder / "data", free_port()
    run = lambda *command: subprocess.run(  # noqa: E731
        [*user, *map(str, command)], check=True, capture_output=True, cwd=folder
    )
    run(found, "-D", data, "-U", "archfront", "-A", "trust", "--no-sync")
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -c fsync=off"
    control = Path(found).with_name("pg_ctl")
    run(control, "-D", data, "-o", options, "-l", folder / "log", "-w", "start")
    yield f"postgresql+psycopg://archfront@127.0.0.1:{port}/postgres"
    run(control, "-D", data, "-m", "immediate", "stop")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wide(config: StudyConfig, storage: str) -> StudyConfig:
    search = SearchConfig(trials=TRIALS, population=8)
    return config.model_copy(update={"search": search, "budget": "", "storage": storage})


def explore_with_two_and_kill_one(path: Path, config: StudyConfig) -> None:
    torch.set_num_threads(1)  # a forked child cannot use threads that the parent started
    search = Search(study_at(path, config), config, Silent())
    with search.study.locked():
        search.prepare()
    keep_table(search)
    first, second = start(path, config), start(path, config)
    stored = search.log.stored
    wait_until(lambda: len({trial.user_attrs["writer"] for trial in stored.get_trials(deepcopy=False)}) == 2, 120)
    killed(second)
    assert ended(first, 300) == 0
    search.log.refresh()
    trials = search.log.trials
    assert TRIALS <= len(trials) <= TRIALS + 1
    assert [trial.number for trial in trials] == list(range(len(trials)))
    assert len({trial.architecture for trial in trials}) == len(trials)
    assert all(trial.complete for trial in trials)
    assert sum(finalist.picked for finalist in load_finalists(search.study)) == 1


def test_two_processes_share_a_journal_and_one_is_killed(config: StudyConfig, tmp_path: Path) -> None:
    explore_with_two_and_kill_one(tmp_path / "study", wide(config, ""))


def test_two_processes_share_a_postgresql_server_and_one_is_killed(
    config: StudyConfig, tmp_path: Path, server: str
) -> None:
    explore_with_two_and_kill_one(tmp_path / "study", wide(config, server))

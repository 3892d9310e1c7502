"""A supernet that two processes train: started, watched and ended by the search, which goes on where that was stopped."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from archfront.evaluators.store import SupernetError
from archfront.evaluators.train import read_checkpoint
from archfront.search.config import StudyConfig
from archfront.search.engine import Search
from archfront.search.progress import Advance, Reporter, Silent
from archfront.search.study import Study

from ..forks import forked, killed, wait_until
from .conftest import keep_table, study_at

pytestmark = pytest.mark.skipif(torch.cuda.device_count() == 1, reason="two processes need a GPU each, or none")


class AtStep(Silent):
    """Does something after the second step of training the supernet."""

    def __init__(self, then: Callable[[], object]) -> None:
        self.then = then

    @contextmanager
    def track(self, title: str, total: int) -> Iterator[Advance]:
        def advance(done: int, detail: str, total: int | None = None) -> None:
            if title == "Training the supernet" and done == 2:
                self.then()

        yield advance


def helpers(parent: int | None = None) -> list[int]:
    """The processes that train along with a process."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
            child_of = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue  # it has ended
        if b"archfront.search.along" in words and child_of == (parent or os.getpid()):
            found.append(int(folder.name))
    return found


@pytest.fixture
def shared(config: StudyConfig) -> StudyConfig:
    """A search whose supernet two processes train."""
    return config.model_copy(update={"supernet": config.supernet.model_copy(update={"processes": 2, "epochs": 3})})


def prepared(path: Path, config: StudyConfig, reporter: Reporter | None = None) -> Study:
    """A study up to its trained supernet."""
    torch.set_num_threads(1)
    search = Search(study_at(path, config), config, reporter or Silent())
    try:
        search.prepare()
    finally:
        keep_table(search)
    return search.study


def test_a_process_that_is_killed_is_missed_and_the_same_command_goes_on(shared: StudyConfig, tmp_path: Path) -> None:
    disturbed = AtStep(lambda: os.kill(helpers()[0], signal.SIGKILL))
    with pytest.raises(SupernetError, match=r"process 1 of those that train the supernet ended with code -9; the same"):
        prepared(tmp_path / "study", shared, disturbed)
    assert not helpers()
    study = prepared(tmp_path / "study", shared)
    facts, weights = read_checkpoint(study.checkpoint)
    assert facts["step"] == facts["total"] == shared.supernet.steps(240)
    assert not helpers()
    again = read_checkpoint(prepared(tmp_path / "again", shared).checkpoint)[1]
    assert all(torch.equal(weights[name], value) for name, value in again.items())


def test_processes_that_train_along_end_with_the_one_that_started_them(shared: StudyConfig, tmp_path: Path) -> None:
    long = shared.model_copy(update={"supernet": shared.supernet.model_copy(update={"epochs": 500})})
    training = tmp_path / "training"
    child = forked(lambda: prepared(tmp_path / "study", long, AtStep(training.touch)))
    wait_until(training.exists)
    (helper,) = helpers(child)
    killed(child)
    wait_until(lambda: not Path(f"/proc/{helper}").exists())

"""Storages: the journal in a study, and what becomes of it when things go wrong."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from pathlib import Path

import optuna
import pytest

from archfront.search.config import StudyConfig
from archfront.search.samplers import make_sampler
from archfront.search.storage import SCHEME, SystemLock, open_storage, stored_name
from archfront.search.study import Study, StudyError
from archfront.search.trials import Trial, TrialLog
from archfront.space import Image
from archfront.space.presets import PRESETS

SPACE = PRESETS["micro"].make(Image(3, 8, 8), 2)
DONE = optuna.trial.TrialState.FAIL


def trial(seed: int) -> Trial:
    architecture = SPACE.sample(seed)
    return Trial(seed, architecture, {}, "not evaluated here", "random", SPACE.choices(architecture), 0.0)


def log_at(file: Path) -> TrialLog:
    return TrialLog(f"{SCHEME}{file}", "s", ("accuracy", "params"), make_sampler("random", 4, 0))


def add(log: TrialLog, seeds: range) -> None:
    for seed in seeds:
        log.add(trial(seed), optuna.trial.create_trial(state=DONE))


def test_last_line_written_in_part_is_cut_off_and_the_trials_before_it_stay(tmp_path: Path) -> None:
    file = tmp_path / "j"
    add(log_at(file), range(3))
    whole = file.read_bytes()
    last = whole.rstrip(b"\n").rfind(b"\n") + 1
    for cut in (last + 1, last + 500, len(whole) - 1):
        file.write_bytes(whole[:cut])
        assert len(log_at(file).trials) == 2
        assert file.read_bytes().startswith(whole[:last]) and file.read_bytes().endswith(b"\n")
    add(log_at(file), range(3, 5))
    assert [t.architecture for t in log_at(file).trials] == [SPACE.sample(seed) for seed in (0, 1, 3, 4)]


def test_reader_leaves_a_line_alone_that_is_being_written(tmp_path: Path) -> None:
    file = tmp_path / "j"
    add(log_at(file), range(2))
    torn = file.read_bytes()[:-10]
    file.write_bytes(torn)
    open_storage(f"{SCHEME}{file}", write=False)
    assert file.read_bytes() == torn


@pytest.mark.parametrize("text", [b"no journal", b"no journal\n", b'{"op_code":0}\nnonsense\n{"op_code":1}\n'])
def test_damaged_journal_is_named_and_not_touched(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "j").write_bytes(text)
    with pytest.raises(StudyError, match=rf"{tmp_path / 'j'}.*damaged"):
        log_at(tmp_path / "j")
    assert (tmp_path / "j").read_bytes() == text


def test_trials_of_two_processes_end_up_in_one_study_each_once(tmp_path: Path) -> None:
    one, two = log_at(tmp_path / "j"), log_at(tmp_path / "j")
    add(one, range(2))
    add(two, range(2, 5))
    add(one, range(5, 6))
    two.refresh()
    assert [t.number for t in one.trials] == [t.number for t in two.trials] == list(range(6))
    assert [t.architecture for t in one.trials] == [t.architecture for t in two.trials]
    assert len(one.memory.trials) == 3  # what the others added; its own the proposer tells it


def hold(file: str, ready: object) -> None:
    SystemLock(file).acquire()
    ready.set()  # type: ignore[attr-defined]
    time.sleep(60)


def test_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    ready = context.Event()
    holder = context.Process(target=hold, args=(str(tmp_path / "j"), ready))
    holder.start()
    assert ready.wait(20) and holder.pid is not None
    os.kill(holder.pid, signal.SIGKILL)
    holder.join()
    lock = SystemLock(str(tmp_path / "j"))
    assert lock.acquire()
    lock.release()


def test_an_early_study_that_was_renamed_finds_its_trials_by_the_one_study_in_its_journal(tmp_path: Path) -> None:
    """Early studies did not keep under which name their trials are stored."""
    old = Study(tmp_path / "old")
    old.settle(StudyConfig())
    assert stored_name(old) == "old"
    add(log_at(old.path / "study.journal"), range(2))  # as "s"
    new = Study(old.path.rename(tmp_path / "new"))
    assert stored_name(new) == "s"
    optuna.create_study(storage=open_storage(f"{SCHEME}{new.path / 'study.journal'}"), study_name="another")
    assert stored_name(new) == "new"
    new.remember(stored_as="s")
    assert stored_name(new) == "s"

"""Measuring over ssh, against a real OpenSSH server on the loopback interface, and what is said when that fails."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from archfront.hw_profiles import remote, worker
from archfront.hw_profiles.profile import LatencyError, Profile, local_profile
from archfront.hw_profiles.protocol import Schedule, compare, measure
from archfront.hw_profiles.runtimes import RUNTIMES, Prepared
from archfront.hw_profiles.ssh import Ssh, explain
from archfront.hw_profiles.sustained import sustain
from archfront.hw_profiles.transport import transport
from archfront.space.library.operator.conv import Conv
from archfront.space.types import Image

SSHD = shutil.which("sshd", path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"]))
SSH = shutil.which("ssh")
pytestmark = pytest.mark.skipif(not (SSHD and SSH), reason="needs OpenSSH's server and client (Debian: openssh-server)")

X = Image(3, 8, 8)
PLAN = worker.Plan(rounds=3, visit_ms=0.1, warm_ms=0.1, seconds=5.0, seed=0)
QUICK = Schedule(processes=2, rounds=3, visit_ms=0.2, warm_ms=0.5, target=10.0, max_seconds=20)


def run(*command: str | Path) -> None:
    subprocess.run([str(word) for word in command], check=True, capture_output=True)


class Board:
    """A "device": an SSH server on the loopback interface, with a home folder and a Python of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.home, self.port = folder, folder / "home", free_port()
        self.home.mkdir()
        for key in ("host", "mine"):
            run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / key)
        shutil.copy(folder / "mine.pub", folder / "authorized")
        self.known = folder / "known_hosts"
        self.trust(folder / "host.pub")
        self.python(f'exec {shlex.quote(sys.executable)} "$@"')
        settings = {
            "ListenAddress": "127.0.0.1",
            "Port": self.port,
            "HostKey": folder / "host",
            "AuthorizedKeysFile": folder / "authorized",
            "PidFile": "none",
            "UsePAM": "no",
            "StrictModes": "no",
            "PasswordAuthentication": "no",
            "KbdInteractiveAuthentication": "no",
            "SetEnv": f"HOME={self.home}",
        }
        (folder / "sshd_config").write_text("".join(f"{key} {value}\n" for key, value in settings.items()))
        self.client(folder / "mine")
        self.start()

    def start(self) -> None:
        assert SSHD
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)
        self.server = subprocess.Popen(
            [SSHD, "-D", "-e", "-f", str(self.folder / "sshd_config")], stderr=subprocess.DEVNULL
        )
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        raise AssertionError("the SSH server did not start")

    def stop(self) -> None:
        self.cut()
        self.server.kill()
        self.server.wait()

    def cut(self) -> None:
        """Cut all connections: end the processes of the server that serve them."""
        for pid in descendants(self.server.pid, "sshd"):
            os.kill(pid, signal.SIGKILL)

    def client(self, key: Path) -> None:
        """Let `ssh` on the search path be the system's, with a configuration that knows the board."""
        (self.folder / "bin").mkdir(exist_ok=True)
        (self.folder / "ssh_config").write_text(
            f"Host board stranger\n  HostName 127.0.0.1\n  Port {self.port}\n"
            f"Match all\n  IdentityFile {key}\n  IdentitiesOnly yes\n"
            f"  UserKnownHostsFile {self.known}\n  GlobalKnownHostsFile none\n"
        )
        script(self.folder / "bin/ssh", f'exec {SSH} -F {self.folder}/ssh_config "$@"')

    def trust(self, public: Path) -> None:
        kind, key, *_ = public.read_text().split()
        self.known.write_text(f"[127.0.0.1]:{self.port} {kind} {key}\n")

    def python(self, line: str) -> None:
        """Let this line of shell be the Python of the device."""
        script(self.home / "archfront-venv/bin/python", line)

    @property
    def places(self) -> list[Path]:
        """The folders of measurements on the device."""
        return sorted((self.home / ".cache/archfront").glob("*"))


def script(file: Path, line: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"#!/bin/sh\n{line}\n")
    file.chmod(0o755)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def descendants(pid: int, name: str) -> list[int]:
    """The processes below `pid` that are called `name`."""
    found = []
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        try:
            called = Path(f"/proc/{child}/comm").read_text().strip()
            found += ([int(child)] if called == name else []) + descendants(int(child), name)
        except OSError:
            continue  # it has ended meanwhile
    return found


@pytest.fixture
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Board]:
    board = Board(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(remote, "PAUSES", (0.2, 0.2))
    yield board
    board.stop()


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Prepared]:
    """Two tiny networks, converted once."""
    folder = tmp_path_factory.mktemp("models")
    runtime, here = RUNTIMES["onnxruntime"], local_profile()
    return {f"conv{w}": runtime.prepare(f"conv{w}", (Conv(width=w), X), here, folder) for w in (4, 8)}


def at_board(**settings: Any) -> Profile:
    return local_profile().model_copy(update={"transport": "ssh", "address": "board", **settings})


def measured(models: Mapping[str, Prepared], folder: Path, plan: worker.Plan = PLAN) -> Mapping[str, Any]:
    with Ssh("board").launcher(models, at_board(), folder) as launch:
        return launch(plan)


# --------------------------------------------------------------------------- what works


def test_measuring_over_ssh_gives_results_like_measuring_here(board: Board) -> None:
    there = at_board()
    results = measure({"narrow": (Conv(width=4), X), "wide": (Conv(width=64), X)}, there, QUICK)
    assert list(results) == ["narrow", "wide"]
    for result in results.values():
        assert result.profile == there.digest
        assert [len(process) for process in result.samples] == [3, 3]
        assert 0 < result.value_ms < 1000 and result.health.reference_ms > 0
    assert compare(results["wide"], results["narrow"]).ratio > 0
    assert board.places == []  # nothing is left behind


def test_sustained_latency_comes_over_ssh_as_well(board: Board) -> None:
    (found,) = sustain({"narrow": (Conv(width=4), X)}, at_board(), seconds=1.2, cool_seconds=0).values()
    assert found.seconds >= 1.2 and 0 < found.sustained_ms < 1000
    assert board.places == []


def test_a_probe_over_ssh_finds_what_a_probe_there_finds(board: Board) -> None:
    assert transport("ssh", "board").probe() == worker.probe()
    assert transport("ssh", f"ssh://127.0.0.1:{board.port}").probe() == worker.probe()
    assert board.places == []


def test_the_chatter_of_login_scripts_is_no_answer(board: Board) -> None:
    board.python(f'echo Welcome to your board; exec {sys.executable} "$@"')
    assert transport("ssh", "board").probe() == worker.probe()


def test_a_device_that_is_not_what_its_profile_says_is_refused(board: Board) -> None:
    with pytest.raises(LatencyError, match="'abacus' there"):
        measure({"a": (Conv(width=4), X)}, at_board(processor="abacus"), QUICK)


# --------------------------------------------------------------------------- first contact


def test_an_unknown_host_key_is_refused_and_the_first_connection_explained(board: Board) -> None:
    board.known.write_text("")
    with pytest.raises(LatencyError, match=r"host key is not known here.*ssh-keyscan -p") as error:
        transport("ssh", "board").probe()
    assert f"ssh-keyscan -p {board.port} 127.0.0.1 >> ~/.ssh/known_hosts" in str(error.value)
    assert board.known.read_text() == ""  # nothing was trusted on the way


def test_a_changed_host_key_is_refused_and_called_by_its_name(board: Board) -> None:
    board.trust(board.folder / "mine.pub")
    with pytest.raises(LatencyError, match="not the one that known_hosts holds: another machine answers"):
        transport("ssh", "board").probe()


def test_a_wrong_key_is_said_and_nothing_is_asked(board: Board) -> None:
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", board.folder / "other")
    board.client(board.folder / "other")
    with pytest.raises(LatencyError, match=r"(?s)accepts none of your keys.*ssh-copy-id.*Permission denied"):
        transport("ssh", "board").probe()


def test_a_host_that_does_not_exist_or_does_not_listen_is_said(board: Board) -> None:
    with pytest.raises(LatencyError, match="no host of that name"):
        transport("ssh", "nobody@no-such-host.invalid").probe()
    with pytest.raises(LatencyError, match="nothing listens there"):
        transport("ssh", f"ssh://127.0.0.1:{free_port()}").probe()


@pytest.mark.parametrize("address", ["-oProxyCommand=touch x", "host; touch x", "a b", "$(touch x)", "@\n"])
def test_an_address_cannot_be_an_option_or_a_command(address: str) -> None:
    with pytest.raises(LatencyError, match="is no address for ssh"):
        Ssh(address)


def test_unknown_words_of_ssh_are_shown_without_their_control_characters() -> None:
    assert explain("x", "\x1b[31mbad configuration option\x07").endswith("?[31mbad configuration option?")


# --------------------------------------------------------------------------- what the device lacks


def test_a_device_without_python_is_told_what_to_install(board: Board) -> None:
    board.python("echo sh: python3: not found >&2; exit 127")
    with pytest.raises(LatencyError, match=r"board has no python3: install Python 3\.9"):
        transport("ssh", "board").probe()


def test_a_device_without_the_runtime_is_told_what_to_install(board: Board) -> None:
    bare = board.folder / "bare"
    run(sys.executable, "-m", "venv", "--without-pip", bare)
    board.python(f'exec {bare}/bin/python "$@"')
    with pytest.raises(LatencyError, match=r"board has no onnxruntime.*archfront-venv/bin/pip install onnxruntime"):
        measure({"a": (Conv(width=4), X)}, at_board(), QUICK)


# --------------------------------------------------------------------------- faults while it works


def wrapped(board: Board, command: str, line: str) -> None:
    """Let the device do `line` before it answers `command`; `$place` is the folder of the measurement."""
    board.python(f'place=$(dirname "$1"); if test "$2" = {command}; then {line}; fi; exec {sys.executable} "$@"')


def customised(board: Board, line: str) -> None:
    """Let measuring processes on the device, in the folder of the measurement, do `line` first; `$3` is the job."""
    site = board.home / "site/sitecustomize.py"
    site.parent.mkdir(exist_ok=True)
    site.write_text(
        "import subprocess, sys\n"
        f"if sys.orig_argv[2:3] == ['work']: subprocess.run(['/bin/sh', '-c', {line!r}, *sys.orig_argv])\n"
    )
    board.python(f'PYTHONPATH={site.parent} exec {sys.executable} "$@"')


def test_a_disk_that_becomes_full_while_copying_is_said(board: Board, models: Any, tmp_path: Path) -> None:
    names = [Path(each.model["file"]).read_bytes() for each in models.values()]
    parts = " ".join(f"{remote._sha256(content)}.onnx.part" for content in names)
    wrapped(board, "receive", f'for f in {parts}; do ln -sf /dev/full "$place/$f"; done')
    with pytest.raises(LatencyError, match=r"disk of board is full: No space left on device.*\n.*stays on board"):
        measured(models, tmp_path)


def test_a_disk_too_small_for_the_models_is_said_before_copying(board: Board, models: Any, tmp_path: Path) -> None:
    wrapped(board, "have", """echo 'archfront-answer:{"files": {}, "free": 100}'; exit""")
    with pytest.raises(LatencyError, match=r"the disk of board is full: [1-9]\d* kB to copy, 0 kB free"):
        measured(models, tmp_path)


def test_a_disk_without_room_for_the_result_is_said(board: Board, models: Any, tmp_path: Path) -> None:
    customised(board, 'ln -s /dev/full "${3%.job}.result.part"')
    with pytest.raises(LatencyError, match="the disk of board is full: No space left on device"):
        measured(models, tmp_path)


def test_a_file_size_limit_on_the_device_is_said(board: Board, models: Any, tmp_path: Path) -> None:
    wrapped(board, "receive", "ulimit -f 1; trap '' XFSZ")
    big = {"big": Prepared({**models["conv4"].model, "file": str(tmp_path / "big.onnx")}, "none", 0.0)}
    (tmp_path / "big.onnx").write_bytes(bytes(4096))
    with pytest.raises(LatencyError, match="the disk of board is full: File too large"):
        measured(big, tmp_path)


def test_garbage_from_a_device_is_an_error_with_its_first_line(board: Board, models: Any, tmp_path: Path) -> None:
    wrapped(board, "run", "printf '\\n\\033[2J<b>core dumped\\n'; exit")
    with pytest.raises(LatencyError, match=r"answered with something else than measurements: '\?\[2J<b>core dumped'"):
        measured(models, tmp_path)


def test_times_that_no_measurement_yields_are_refused(board: Board, models: Any, tmp_path: Path) -> None:
    visits = {name: {"wall": [-5], "cpu": 1} for name in models}
    answer = worker.MARK + json.dumps({"result": {"rounds": [visits] * 3, "warm_up_ms": 1.0}})
    wrapped(board, "run", f"echo {shlex.quote(answer)}; exit")
    with pytest.raises(
        LatencyError, match=r"something else than the times of a measuring process, at rounds\.0\.conv4"
    ):
        measured(models, tmp_path)


def test_an_endless_answer_is_cut_off(
    board: Board, models: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "MOST", 1 << 20)
    wrapped(board, "run", "exec yes nonsense")
    with pytest.raises(LatencyError, match="more than 1 MiB"):
        measured(models, tmp_path)


def test_a_worker_that_is_killed_names_the_signal_and_the_model(board: Board, models: Any, tmp_path: Path) -> None:
    customised(board, "echo loading conv4 >&2; kill -KILL $PPID")
    with pytest.raises(
        LatencyError, match=r"(?s)process on board was killed by SIGKILL.*loading conv4.*stays on board"
    ):
        measured(models, tmp_path)


def test_a_device_that_hangs_is_given_up(board: Board, models: Any, tmp_path: Path) -> None:
    wrapped(board, "have", "exec sleep 60")
    host = Ssh("board")
    call = host.call
    host.call = lambda place, command, *rest, **named: call(place, command, *rest, **{**named, "limit": 3.0})  # type: ignore[method-assign]
    with pytest.raises(LatencyError, match="did not answer within 3 s"), host.launcher(models, at_board(), tmp_path):
        pass


def test_a_worker_that_hangs_ends_itself_on_the_device(
    board: Board, models: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "time_limit", lambda models, plan: 2)
    endless = worker.Plan(rounds=10**6, visit_ms=100, warm_ms=1, seconds=1e6, seed=0)
    with pytest.raises(LatencyError, match=r"(?s)process on board did not end within 2 s.*timing"):
        measured(models, tmp_path, endless)


def starts(board: Board) -> int:
    """How many measuring processes the device has begun, where `counted` was asked for."""
    log = board.home / "starts"
    return len(log.read_text().splitlines()) if log.exists() else 0


def counted(board: Board, delay: float = 0.0) -> None:
    customised(board, f"echo >> {board.home}/starts; sleep {delay}")


def when_started(board: Board, action: Any) -> threading.Thread:
    def wait() -> None:
        deadline = time.monotonic() + 30
        while not starts(board) and time.monotonic() < deadline:
            time.sleep(0.05)
        action()

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


def test_a_connection_cut_while_measuring_loses_nothing(board: Board, models: Any, tmp_path: Path) -> None:
    counted(board, delay=1.0)
    cut = when_started(board, board.cut)
    found = measured(models, tmp_path)
    cut.join()
    assert len(found["rounds"]) == PLAN.rounds
    assert starts(board) == 1  # the process that was at it was waited for, not begun again
    assert board.places == []


def test_a_device_lost_for_good_is_said_and_a_second_attempt_goes_on_where_the_first_ended(
    board: Board, models: Any, tmp_path: Path
) -> None:
    counted(board, delay=1.0)
    gone = when_started(board, board.stop)
    lost = r"(?s)board was lost on the way.*not found again; cannot reach board.*stays on board in ~/\.cache"
    with pytest.raises(LatencyError, match=lost):
        measured(models, tmp_path)
    gone.join()
    (place,) = board.places
    kept = {file.name: file.stat().st_mtime_ns for file in place.glob("*.onnx")}
    assert len(kept) == 2
    deadline = time.monotonic() + 20
    while not list(place.glob("*.result")) and time.monotonic() < deadline:
        time.sleep(0.1)  # the process on the device goes on without us
    (result,) = place.glob("*.result")
    there = json.loads(result.read_text())
    assert kept == {file.name: file.stat().st_mtime_ns for file in place.glob("*.onnx")}
    wrapped(board, "receive", f"echo >> {board.home}/received")
    board.start()
    assert measured(models, tmp_path) == there
    assert starts(board) == 1
    assert (board.home / "received").read_text() == "\n"  # the job; the models were there
    assert board.places == []


def test_a_folder_that_cannot_be_removed_is_a_warning_and_the_results_count(
    board: Board, models: Any, tmp_path: Path
) -> None:
    wrapped(board, "clean", "exit 1")
    with pytest.warns(UserWarning, match=r"everything is measured, but ~/\.cache/archfront/.* was not removed"):
        found = measured(models, tmp_path)
    assert len(found["rounds"]) == PLAN.rounds


def test_an_upload_that_was_cut_is_completed(board: Board, models: Any, tmp_path: Path) -> None:
    wrapped(board, "receive", f"test -e {board.home}/once || (touch {board.home}/once; kill -KILL $PPID)")
    found = measured(models, tmp_path)
    assert len(found["rounds"]) == PLAN.rounds


def test_results_of_an_old_attempt_are_not_continued(board: Board, models: Any, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), Ssh("board").launcher(models, at_board(), tmp_path) as launch:
        launch(PLAN)
        raise RuntimeError  # leaves the folder as an interruption does
    (result,) = board.places[0].glob("*.result")
    os.utime(result, (0, 0))
    counted(board)
    measured(models, tmp_path)
    assert starts(board) == 1

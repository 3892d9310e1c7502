"""Joining a cluster, starting one, and what is said where neither works."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from archfront.search.cluster.connection import ClusterError, connect


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_cluster_of_this_machine_lives_as_long_as_its_block(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    monkeypatch.setenv("RAY_ADDRESS", "192.0.2.1:6379")  # not asked for, so not joined
    handler = signal.getsignal(signal.SIGTERM)
    with connect(workers=3) as cluster:
        assert cluster.own and cluster.cpus == 3 and len(cluster.nodes) == 1
        assert signal.getsignal(signal.SIGTERM) is handler
        with connect("auto") as same:  # a process is connected once
            assert same.address == cluster.address and not same.own
        assert ray.is_initialized()
    assert not ray.is_initialized()


def test_a_running_cluster_outlives_its_drivers(nodes: Any) -> None:
    for _ in range(2):
        with connect(nodes.address) as cluster:
            assert not cluster.own and cluster.cpus == 2 and cluster.address == nodes.address


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("ray://10.0.0.1:10001", "runs on a node of the cluster"),
        ("head-node", 'expected HOST:PORT, as ray start prints it, or "auto"'),
        (":6379", "expected HOST:PORT"),
        ("127.0.0.1:99999", "no cluster answers at"),
    ],
)
def test_an_address_that_cannot_work_is_refused_at_once(address: str, message: str) -> None:
    with pytest.raises(ClusterError, match=message), connect(address):
        pass


def test_where_nobody_answers_it_is_said_how_to_start_a_cluster_there() -> None:
    port = free_port()
    message = f"no cluster answers at 127.0.0.1:{port} .*ray start --head --port={port}"
    with pytest.raises(ClusterError, match=message), connect(f"127.0.0.1:{port}"):
        pass


def test_without_ray_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ClusterError, match=r"pip install 'archfront\[ray\]'"), connect():
        pass


JOIN = """
import sys
from archfront.search.cluster.connection import ClusterError, connect
try:
    with connect(sys.argv[1]) as cluster:
        import ray
        class Asked:
            def answer(self): return 42
        print(ray.get(ray.remote(Asked).remote().answer.remote()), cluster.cpus)
except ClusterError as error:
    print(error)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("wants", "has", "printed"),
    [
        ("token", True, "42 1"),
        ("token", False, "it wants a token"),
        ("disabled", True, "42 1"),
    ],
)
def test_a_token_is_shown_to_a_cluster_that_wants_one_and_to_no_other(
    tmp_path: Path, wants: str, has: bool, printed: str
) -> None:
    plain = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    plain["OMP_NUM_THREADS"] = "1"
    port, ray = free_port(), [sys.executable, "-m", "ray.scripts.scripts"]
    start = [*ray, "start", "--head", "--block", f"--port={port}", "--num-cpus=1", "--include-dashboard=false"]
    there = {**plain, "HOME": str(tmp_path / "there"), "RAY_AUTH_MODE": wants, "RAY_AUTH_TOKEN": "a" * 32}
    here = {**plain, "HOME": str(tmp_path / "here")}
    if has:
        (tmp_path / "here" / ".ray").mkdir(parents=True)
        (tmp_path / "here" / ".ray" / "auth_token").write_text("a" * 32)
    head = subprocess.Popen(
        start, env=there, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        healthy = [*ray, "health-check", f"--address=127.0.0.1:{port}"]
        deadline = time.monotonic() + 60
        while subprocess.run(healthy, env=there, capture_output=True, check=False).returncode:
            assert time.monotonic() < deadline
        join = [sys.executable, "-c", JOIN, f"127.0.0.1:{port}"]
        done = subprocess.run(join, env=here, capture_output=True, text=True, timeout=120, check=False)
        assert printed in done.stdout, done.stderr
    finally:
        os.killpg(head.pid, signal.SIGTERM)
        head.wait()

"""Ray clusters: joined where one runs already, or started on this machine for as long as it is needed."""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from archfront.space.errors import ArchfrontError

START = "ray start --head"
"""What starts the first node of a cluster."""

PATIENCE = 5.0
"""Seconds that the head of a cluster has to answer in before anything else is tried."""

QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".",
}
"""Environment of Ray: nothing is reported to its makers, no warning about GPUs, no news of dead workers on our output."""


class ClusterError(ArchfrontError):
    """A cluster that cannot be used: says why, and what to install or run."""


@dataclass(frozen=True)
class Cluster:
    """A cluster that this process is connected to.

    Args:
        address: HOST:PORT, by which further nodes and drivers join.
        own: whether it was started here, and ends with the connection.
    """

    address: str
    own: bool

    @property
    def nodes(self) -> list[dict[str, Any]]:
        """The nodes that are alive, as Ray describes them."""
        return [node for node in ray_module().nodes() if node["Alive"]]

    @property
    def cpus(self) -> int:
        """CPUs of the nodes that are alive, whether in use or not."""
        return int(sum(node["Resources"].get("CPU", 0) for node in self.nodes))


@contextmanager
def connect(address: str = "", workers: int | None = None) -> Iterator[Cluster]:
    """Be connected to a cluster.

    A process that is connected already stays so: nothing is started, and nothing ends with the block.

    Args:
        address: HOST:PORT of a running cluster, or "auto" for one that this machine is a node of; empty starts one on
            this machine that ends with the block, or with this process however it ends.
        workers: CPUs that a cluster started here offers; by default as many as this process may use.

    Raises:
        ClusterError: Ray is not installed, or the cluster cannot be joined.
    """
    if address:
        _check(address)
    ray = ray_module()
    if ray.is_initialized():
        yield Cluster(_address(ray), own=False)
        return
    if address:
        _join(ray, address)
    else:
        _start(ray, workers or len(os.sched_getaffinity(0)))
    try:
        yield Cluster(_address(ray), own=not address)
    finally:
        ray.shutdown()


def ray_module() -> Any:
    """Ray, imported.

    Raises:
        ClusterError: it is not installed.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    try:
        import ray
    except ImportError as error:
        raise ClusterError(f"a cluster needs Ray ({error}): pip install 'archfront[ray]'") from None
    return ray


def _has_token() -> bool:
    """Whether this user has a token, with which newer versions of Ray protect clusters."""
    given = "RAY_AUTH_TOKEN" in os.environ or "RAY_AUTH_TOKEN_PATH" in os.environ
    return given or (Path.home() / ".ray" / "auth_token").is_file()


def _show_token(address: str) -> None:
    """Have Ray show its token to a cluster that wants one.

    A driver that joins by address has to know before it imports Ray, and one that shows a token to a cluster without
    waits for ever: the only way to find out is to ask.
    """
    if "ray" in sys.modules or "RAY_AUTH_MODE" in os.environ or not _has_token():
        return
    command = [sys.executable, "-m", "ray.scripts.scripts", "health-check", "--address", address]
    environment = {**os.environ, "RAY_AUTH_MODE": "disabled"}
    if subprocess.run(command, env=environment, capture_output=True, check=False).returncode:
        os.environ["RAY_AUTH_MODE"] = "token"


def _address(ray: Any) -> str:
    return str(ray.get_runtime_context().gcs_address)


def _start(ray: Any, cpus: int) -> None:
    with _undisturbed():
        _init(ray, address="local", num_cpus=cpus, include_dashboard=False)


def _check(address: str) -> None:
    """Find out within seconds whether there is a cluster at an address; Ray itself takes half a minute to."""
    if "://" in address:
        raise ClusterError(
            f"cluster address {address!r}: archfront runs on a node of the cluster, not at the end of a wire. Give "
            "HOST:PORT there, or have the cluster run the command: ray job submit -- archfront search ..."
        )
    if address == "auto":
        return
    host, colon, port = address.rpartition(":")
    if not (colon and host and port.isdecimal()):
        raise ClusterError(f'cluster address {address!r}: expected HOST:PORT, as ray start prints it, or "auto"')
    try:
        socket.create_connection((host, int(port)), PATIENCE).close()
    except (OSError, OverflowError) as error:
        raise ClusterError(
            f"no cluster answers at {address} ({error}); {START} --port={port} starts one there, without an address one is "
            "started on this machine"
        ) from None
    _show_token(address)


def _join(ray: Any, address: str) -> None:
    try:
        with _undisturbed():
            _init(ray, address=address)
    except ConnectionError as error:
        raise ClusterError(
            f"cannot join the cluster at {address!r}: {_advice(str(error.__cause__ or error))}"
        ) from None
    except RuntimeError as error:
        if "ersion mismatch" not in str(error):
            raise
        raise ClusterError(
            f"the cluster at {address!r} and this process do not fit together: {' '.join(str(error).split())} Every node "
            "needs the same Python and the same Ray"
        ) from None


def _init(ray: Any, **options: Any) -> None:
    ray.init(namespace="archfront", log_to_driver=False, logging_level=logging.ERROR, **options)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Keep what this process does on SIGTERM as it is while Ray starts, which would change it."""
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)


def _advice(problem: str) -> str:
    if "AuthToken" in problem:
        return (
            "it wants a token. Its first node has it in ~/.ray/auth_token: copy that file here, or set RAY_AUTH_TOKEN to "
            "what it holds; and in a program that imports Ray before archfront does, RAY_AUTH_MODE=token"
        )
    lines = [line.strip() for line in problem.splitlines() if line.strip()]
    return (
        f"{lines[-1] if lines else 'no reason given'}. This machine has to be a node of it: {START} on the first machine, "
        "ray start --address=HOST:PORT on the others"
    )

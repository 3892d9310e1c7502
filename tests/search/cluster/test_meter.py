"""Latency is measured on the node that is the device, with nothing beside it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from archfront.hw_profiles.profile import LatencyError, Profile, local_profile
from archfront.hw_profiles.protocol import Schedule, measure
from archfront.hw_profiles.table import LatencyTable
from archfront.search.cluster.connection import Cluster, ClusterError
from archfront.search.cluster.meter import device_of
from archfront.search.config import ClusterConfig, LatencyConfig, StudyConfig
from archfront.search.engine import Search
from archfront.search.progress import Silent
from archfront.search.study import Study
from archfront.space.architecture import Architecture
from archfront.space.presets import preset_named
from archfront.space.types import Image

from .conftest import drop

SHORT = Schedule(max_seconds=0.5, processes=1, rounds=3)


@pytest.fixture(scope="module")
def board(nodes: Any) -> Iterator[Profile]:
    """A device that a node without CPUs for anything else says it is."""
    node = nodes.add_node(num_cpus=0, resources={"device:board": 1}, object_store_memory=80 << 20)
    yield local_profile().model_copy(update={"name": "board"})
    drop(nodes, node)


@pytest.fixture(scope="module")
def network() -> Architecture:
    return preset_named("micro").make(Image(3, 16, 16), 4).sample(0)


def silent(text: str) -> None:
    raise AssertionError(f"nothing was to be said: {text}")


def test_the_node_that_says_it_is_the_device_measures_alone(
    cluster: Cluster, board: Profile, network: Architecture
) -> None:
    import ray

    assert ray.available_resources()["device:board"] == 1
    with device_of(cluster, board, silent) as device:
        assert "device:board" not in ray.available_resources()
        (result,) = measure({"it": network}, board, SHORT, device=device).values()
    assert result.profile == board.digest
    assert len(result.samples) >= 1 and result.value_ms > 0


def test_the_machine_of_the_search_is_a_device_without_saying_so_and_computes_nothing_else_meanwhile(
    cluster: Cluster, network: Architecture
) -> None:
    import ray

    profile = local_profile()
    with device_of(cluster, profile, silent) as device:
        wait_until_free(0)
        (result,) = measure({"it": network}, profile, SHORT, device=device).values()
    assert result.profile == profile.digest
    wait_until_free(2)
    assert ray.is_initialized()


def wait_until_free(cpus: int) -> None:
    """What is free is told with a delay."""
    import time

    import ray

    deadline = time.monotonic() + 10
    while ray.available_resources().get("CPU", 0) != cpus:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_busy_node_is_waited_for_and_that_is_said(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    class Held:
        def here(self) -> None:
            """Returns once it runs."""

    monkeypatch.setattr("archfront.search.cluster.meter.BUSY", 0.3)
    holder = ray.remote(num_cpus=1)(Held).remote()
    ray.get(holder.here.remote())
    notes: list[str] = []

    def note(text: str) -> None:
        notes.append(text)
        ray.kill(holder)

    with device_of(cluster, local_profile(), note) as device:
        assert device.probe()["processor"] == local_profile().processor
    assert "Waiting for node" in notes[0] and len(notes) == 1


def test_without_a_node_that_is_the_device_it_is_said_how_to_start_one(cluster: Cluster) -> None:
    elsewhere = local_profile().model_copy(update={"name": "pi", "processor": "Cortex-A76"})
    message = r"ray start --address=\S+ --num-cpus=0 --resources='\{\"device:pi\": 1\}'"
    with pytest.raises(ClusterError, match=message), device_of(cluster, elsewhere, silent):
        pass


def test_a_node_that_is_not_what_its_profile_says_is_refused(
    cluster: Cluster, board: Profile, network: Architecture
) -> None:
    other = board.model_copy(update={"processor": "Cortex-A76"})
    with device_of(cluster, other, silent) as device, pytest.raises(LatencyError, match="processor: "):
        measure({"it": network}, other, SHORT, device=device)


@pytest.mark.slow
def test_a_search_fills_its_table_on_the_node_of_its_device(
    nodes: Any, board: Profile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    board.save(tmp_path / "board.toml")
    config = StudyConfig(
        space="micro",
        device=str(tmp_path / "board.toml"),
        backend="ray",
        cluster=ClusterConfig(address=nodes.address),
        latency=LatencyConfig(blocks=20, calibration=4, seconds=1, processes=1, final_seconds=1),
    )
    search = Search(Study(tmp_path / "study"), config, Silent())
    (tmp_path / "study").mkdir()
    monkeypatch.setattr("archfront.hw_profiles.transport.Local.probe", lambda self: pytest.fail("measured here"))
    table = search.latency.table
    monkeypatch.undo()
    assert table.blocks and len(table.nets) == 4
    read = LatencyTable.load(search.study.table_file, board)
    assert read.blocks == table.blocks

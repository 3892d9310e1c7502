"""A real cluster of several node processes on this machine, and something to evaluate on it."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from archfront.evaluators.accuracy import SupernetAccuracy
from archfront.evaluators.data import load_data
from archfront.evaluators.supernet import Supernet
from archfront.evaluators.task import Classification
from archfront.search.cluster.connection import Cluster, connect
from archfront.search.spaces import find_space

os.environ.setdefault("RAY_AUTH_MODE", "token")  # nobody else on the network is to use the clusters of the tests
os.environ.setdefault("RAY_AUTH_TOKEN", uuid.uuid4().hex)

SPACE = '''
from torch import nn

from archfront.space import Gate, Network, Space, Stage, int_range, one_of
from archfront.space.library.block.mbconv import MBConv
from archfront.space.library.head.classifier import Classifier
from archfront.space.library.stem.convolution import ConvStem


class HalvesModule(nn.Module):
    def forward(self, x):
        return x * 0.5


class Halves(Gate):
    """A gate of the user's own."""

    def build(self, x):
        return HalvesModule()


def shallow(architecture):
    """A predicate of the user's own."""
    return len(architecture.parts) < 7


def tiny(x, classes):
    return Space(
        x,
        Network(
            stem=ConvStem(width=8),
            stages=(
                Stage(
                    width=one_of(8, 16),
                    depth=int_range(1, 2),
                    block=MBConv(kernel=one_of(3, 5), expand=one_of(1.0, 2.0), gate=one_of(None, Halves())),
                ),
                Stage(width=one_of(16, 24), stride=2, block=MBConv(expand=2.0)),
            ),
            head=Classifier(classes=classes),
        ),
        where=shallow,
    )
'''
"""A space with a block and a predicate that only its file defines."""


@pytest.fixture(scope="session")
def nodes() -> Iterator[Any]:
    """A cluster of one node with two CPUs, to which tests add nodes and from which they take them again."""
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'archfront[ray]'")
    from ray.cluster_utils import Cluster as Nodes

    watchful = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 1000, "health_check_failure_threshold": 5}
    head = {
        "num_cpus": 2,
        "object_store_memory": 100 << 20,
        "include_dashboard": False,
        "_system_config": watchful,
    }
    started = Nodes(initialize_head=True, head_node_args=head)
    yield started
    started.shutdown()


def drop(nodes: Any, node: Any) -> None:
    """Take a node away, and wait until the cluster knows."""
    nodes.remove_node(node, allow_graceful=False)
    deadline = time.monotonic() + 60
    while any(known["Alive"] and known["NodeID"] == node.node_id for known in nodes.global_state.node_table()):
        assert time.monotonic() < deadline, "a node is gone and the cluster does not notice"
        time.sleep(0.1)


@pytest.fixture(scope="module")
def cluster(nodes: Any) -> Iterator[Cluster]:
    """A connection to that cluster."""
    with connect(nodes.address) as found:
        yield found


@pytest.fixture(scope="session")
def rating(tmp_path_factory: pytest.TempPathFactory) -> SupernetAccuracy:
    """Rates candidates of `SPACE` with random shared weights; the file is there until the session ends."""
    file = tmp_path_factory.mktemp("user") / "own_blocks.py"
    file.write_text(SPACE)
    data = load_data("digits", limit=400)
    space = find_space(f"{file}:tiny", data.input, len(data.classes))
    return SupernetAccuracy(Supernet(space), data, Classification(len(data.classes)), 64)


@pytest.fixture
def own_file(rating: SupernetAccuracy) -> Path:
    """The file that defines the space of `rating`."""
    import sys

    return Path(next(m.__file__ for n, m in sys.modules.items() if "own_blocks" in n and m.__file__))

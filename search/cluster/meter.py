"""Latency on a node of a cluster: the node that is the device, with nothing beside it.

A node says which device it is by a resource of its own: `ray start --resources='{"device:NAME": 1}'`, where NAME is
that of the profile. The machine that the search runs on needs to say nothing. Models are converted here; the node gets
files, and times them in fresh processes, as any other device does.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from archfront.hw_profiles import worker
from archfront.hw_profiles.profile import LatencyError, Profile
from archfront.hw_profiles.runtimes import Prepared
from archfront.hw_profiles.transport import Launch, Local, Transport

from .connection import Cluster, ClusterError

Plan = worker.Plan | worker.Endurance

BUSY = 30.0
"""Seconds that a node may be busy with something else before that is said."""


class Meter:
    """A process on the node that starts the measuring processes there."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="archfront-latency-")
        self._models: dict[str, Prepared] = {}

    def probe(self) -> dict[str, Any]:
        """Facts about the node."""
        return worker.probe()

    def take(self, models: Mapping[str, Prepared], files: Mapping[str, bytes]) -> None:
        """Keep models, and their files by the names of the models."""
        folder = Path(self._folder.name)
        self._models = dict(models)
        for number, (name, content) in enumerate(files.items()):
            path = folder / f"{number}{Path(models[name].model['file']).suffix}"
            path.write_bytes(content)
            self._models[name] = replace(models[name], model={**models[name].model, "file": str(path)})

    def launch(self, profile: Profile, plan: Plan) -> Mapping[str, Any]:
        """Carry out a plan in a fresh process."""
        with Local().launcher(self._models, profile, Path(self._folder.name)) as launch:
            return launch(plan)


class Node(Transport):
    """The node where a `Meter` runs."""

    def __init__(self, meter: Any) -> None:
        self._meter = meter

    def probe(self) -> dict[str, Any]:
        facts: dict[str, Any] = _answer(self._meter.probe.remote())
        return facts

    def require_runtime(self, package: str, facts: Mapping[str, Any]) -> None:
        """The profile says it all, as for this machine: packages are installed on nodes by whoever starts them."""

    @contextmanager
    def launcher(self, prepared: Mapping[str, Prepared], profile: Profile, folder: Path) -> Iterator[Launch]:
        files = {name: Path(p.model["file"]).read_bytes() for name, p in prepared.items() if "file" in p.model}
        _answer(self._meter.take.remote(dict(prepared), files))
        yield lambda plan: _answer(self._meter.launch.remote(profile, plan))


@contextmanager
def device_of(cluster: Cluster, profile: Profile, note: Callable[[str], None]) -> Iterator[Transport]:
    """The way to the node that is the device of a profile; all its CPUs are taken as long as the block lasts.

    Args:
        note: told where latency is measured, and when that has to wait.

    Raises:
        ClusterError: no node is this device; says how to start one.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    node = _node(cluster, profile)
    everything = {
        "num_cpus": node["Resources"].get("CPU", 0),
        "resources": {name: 1 for name in (resource(profile),) if name in node["Resources"]},
        "scheduling_strategy": NodeAffinitySchedulingStrategy(node["NodeID"], soft=False),
    }
    meter: Any = ray.remote(**everything)(Meter).remote()
    where = f"node {node['NodeManagerHostname']} ({node['NodeManagerAddress']})"
    try:
        started = meter.probe.remote()
        if not ray.wait([started], timeout=BUSY)[0]:
            note(f"Waiting for {where} to be free: latency is measured there with nothing beside it")
        _answer(started)
        yield Node(meter)
    finally:
        ray.kill(meter)


def resource(profile: Profile) -> str:
    """The resource of nodes that are the device of a profile."""
    return f"device:{profile.name}"


def _node(cluster: Cluster, profile: Profile) -> Mapping[str, Any]:
    import ray

    for node in cluster.nodes:
        if node["Resources"].get(resource(profile), 0) >= 1:
            return node
    own = ray.get_runtime_context().get_node_id()
    here = next((node for node in cluster.nodes if node["NodeID"] == own), None)
    if here is not None and _is_here(profile):
        return here
    raise ClusterError(
        f"no node of the cluster at {cluster.address} is the device {profile.name!r}. Join with the machine that is it: ray "
        f"start --address={cluster.address} --num-cpus=0 --resources='{{\"{resource(profile)}\": 1}}'"
    )


def _is_here(profile: Profile) -> bool:
    from archfront.hw_profiles.profile import require_found

    try:
        require_found(profile, worker.probe())
    except LatencyError:
        return False
    return True


def _answer(reference: Any) -> Any:
    """What a meter answers.

    Raises:
        LatencyError: of the meter; or its node was lost.
    """
    import ray

    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None
    except ray.exceptions.RayError as error:
        raise LatencyError(
            f"the node that latency was measured on was lost; the same command goes on: {error}"
        ) from None

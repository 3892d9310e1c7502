"""The cluster for Kubernetes: what can be checked of its manifest without one."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from archfront.search.cluster.meter import resource

MANIFEST = Path(__file__).parents[3] / "docs" / "examples" / "raycluster.yaml"


@pytest.fixture(scope="module")
def cluster() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(MANIFEST.read_text())
    return found


def groups(cluster: dict[str, Any]) -> list[dict[str, Any]]:
    return [cluster["spec"]["headGroupSpec"], *cluster["spec"]["workerGroupSpecs"]]


def test_it_is_a_cluster_of_kuberay_with_a_head_and_groups_of_workers(cluster: dict[str, Any]) -> None:
    assert (cluster["apiVersion"], cluster["kind"]) == ("ray.io/v1", "RayCluster")
    assert set(cluster["spec"]) == {"headGroupSpec", "workerGroupSpecs"}
    assert set(cluster["spec"]["headGroupSpec"]) == {"rayStartParams", "template"}
    for group in cluster["spec"]["workerGroupSpecs"]:
        assert set(group) == {"groupName", "replicas", "minReplicas", "maxReplicas", "rayStartParams", "template"}
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]


def test_every_parameter_is_an_option_of_ray_start_and_a_string(cluster: dict[str, Any]) -> None:
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'archfront[ray]'")
    program = Path(sys.executable).with_name("ray")
    listed = subprocess.run([program, "start", "--help"], check=True, capture_output=True, text=True).stdout
    known = set(re.findall(r"--([a-z-]+)", listed))
    for group in groups(cluster):
        assert set(group["rayStartParams"]) <= known
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())


def test_every_pod_has_one_image_and_the_processors_that_it_offers(cluster: dict[str, Any]) -> None:
    images = set()
    for group in groups(cluster):
        (container,) = group["template"]["spec"]["containers"]
        images.add(container["image"])
        assert container["resources"]["requests"] == container["resources"]["limits"]
        offered = group["rayStartParams"]["num-cpus"]
        assert offered in ("0", container["resources"]["limits"]["cpu"])
    assert len(images) == 1
    (mount,) = groups(cluster)[0]["template"]["spec"]["containers"][0]["volumeMounts"]
    assert mount["name"] in {volume["name"] for volume in groups(cluster)[0]["template"]["spec"]["volumes"]}


def test_the_device_is_named_as_the_search_looks_for_it(cluster: dict[str, Any]) -> None:
    class Edge:
        name = "edge-box"

    (device,) = (group for group in groups(cluster) if "resources" in group["rayStartParams"])
    text = device["rayStartParams"]["resources"]
    assert (
        text[0] == text[-1] == "'" or text[0] == text[-1] == '"'
    )  # quoted once more, for the shell that runs ray start
    assert json.loads(text[1:-1].replace('\\"', '"')) == {resource(Edge()): 1}  # type: ignore[arg-type]

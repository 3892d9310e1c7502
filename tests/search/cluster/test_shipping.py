"""What travels to workers arrives as it left: values, memory layout, blocks of the user's."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from archfront.evaluators.accuracy import SupernetAccuracy
from archfront.search.cluster.connection import Cluster, ClusterError
from archfront.search.cluster.shipping import Source, install, ship, sources
from archfront.space.presets import preset_named
from archfront.space.types import Image

TENSORS: dict[str, Tensor] = {
    "plain": torch.arange(24.0).reshape(2, 3, 4),
    "channels last": torch.randn(2, 3, 4, 5).contiguous(memory_format=torch.channels_last),
    "part of another": torch.arange(24.0).reshape(4, 6)[1:3, ::2],
    "expanded": torch.ones(1, 3).expand(2, 3),
    "bfloat16": torch.randn(5).bfloat16(),
    "bytes": torch.arange(7, dtype=torch.uint8),
    "flags": torch.tensor([True, False]),
    "number": torch.tensor(3),
    "empty": torch.empty(0, 4),
    "weight": nn.Parameter(torch.randn(4, 3)),
    "frozen weight": nn.Parameter(torch.randn(4, 3), requires_grad=False),
}


@pytest.mark.parametrize("name", TENSORS)
def test_a_tensor_arrives_with_its_values_type_and_order_in_memory(cluster: Cluster, name: str) -> None:
    tensor = TENSORS[name]
    arrived: Tensor = ship({"it": tensor}, preset_named("micro").make(Image(3, 32, 32), 10)).open()["it"]
    assert type(arrived) is type(tensor)
    assert arrived.dtype == tensor.dtype and arrived.requires_grad == tensor.requires_grad
    assert torch.equal(arrived, tensor)
    if tensor.is_contiguous(memory_format=torch.preserve_format) or name == "channels last":
        assert arrived.stride() == tensor.stride()


def test_workers_of_a_node_share_the_memory_of_tensors(cluster: Cluster) -> None:
    """Two processes that hold 64 MB of weights have next to nothing of it to themselves."""
    import ray

    space = preset_named("micro").make(Image(3, 32, 32), 10)
    shipment = ship({"weights": torch.ones(16 << 20)}, space)

    class Holder:
        def own_mb(self, shipment: Any) -> float:
            import psutil

            before = psutil.Process().memory_full_info().uss
            self.weights = shipment.open()["weights"]
            assert float(self.weights.sum()) == 16 << 20
            return (psutil.Process().memory_full_info().uss - before) / 1e6

    holders = [ray.remote(num_cpus=1)(Holder).remote() for _ in range(2)]
    own = ray.get([holder.own_mb.remote(shipment) for holder in holders])
    for holder in holders:
        ray.kill(holder)
    assert max(own) < 32


def test_other_uses_of_ray_in_this_process_see_tensors_as_before(cluster: Cluster) -> None:
    import ray

    ship({"it": torch.ones(3)}, preset_named("micro").make(Image(3, 32, 32), 10))
    arrived = ray.get(ray.put(torch.ones(3)))
    arrived += 1  # memory of its own
    assert arrived.tolist() == [2.0, 2.0, 2.0]


def test_an_evaluator_leaves_behind_the_images_that_rating_does_not_need(
    cluster: Cluster, rating: SupernetAccuracy
) -> None:
    arrived: SupernetAccuracy = ship(rating, rating.supernet.space).open()
    assert len(rating.data.train) > 0 and len(rating.data.test) > 0
    assert len(arrived.data.train) == len(arrived.data.test) == 0
    assert torch.equal(arrived.validation.images, rating.data.validation.images)
    assert [x.tolist() for x in arrived.calibration] == [x.tolist() for x in rating.calibration]


def test_sources_are_those_of_the_user_s_modules_only(rating: SupernetAccuracy, own_file: Path) -> None:
    assert sources(preset_named("micro").make(Image(3, 32, 32), 10)) == ()
    (source,) = sources(rating.supernet.space)
    assert source.text == own_file.read_text() and "class Halves" in source.text


def test_a_module_is_made_of_its_text_alone() -> None:
    source = Source(
        "made_of_text", "/nowhere/made_of_text.py", "from math import tau\n\ndef twice():\n    return 2 * tau\n"
    )
    install(source)
    try:
        import made_of_text  # type: ignore[import-not-found]

        assert made_of_text.twice() == pytest.approx(12.566370614)
    finally:
        del sys.modules["made_of_text"]


def test_a_module_that_lacks_another_names_both() -> None:
    source = Source("lacks_another", "/nowhere/lacks_another.py", "import my_helpers_that_stayed_at_home\n")
    with pytest.raises(ClusterError, match=r"lacks_another\.py .*my_helpers_that_stayed_at_home"):
        install(source)
    assert "lacks_another" not in sys.modules

"""NesT against published figures, and what its blocks see of each other."""

from __future__ import annotations

import pytest
import torch

from archfront.space.architecture import Architecture
from archfront.space.references.nest import nested
from archfront.space.types import Image

from .figures import check


@pytest.mark.parametrize(("name", "params", "gmacs"), [("NesT-T", "17.06", 5.81), ("NesT-S", "38.35", 10.32)])
def test_the_networks_have_the_published_size_and_cost(name: str, params: str, gmacs: float) -> None:
    check(name, params, gmacs)


def test_nest_b_has_its_published_size() -> None:
    architecture = Architecture(Image(3, 224, 224), nested(128, 4, (2, 2, 20), 1000))
    with torch.device("meta"):
        assert f"{sum(p.numel() for p in architecture.build().parameters()) / 1e6:.2f}" == "67.72"


@pytest.mark.parametrize("multi_query", [False, True])
def test_blocks_see_each_other_only_after_an_aggregation_and_then_only_neighbours(multi_query: bool) -> None:
    network = nested(16, 2, (2, 1, 1), 5, patch=1, extent=4, multi_query=multi_query)
    module = Architecture(Image(3, 16, 16), network).build().eval()
    torch.manual_seed(0)
    before = torch.randn(1, 3, 16, 16)
    after = before.clone()
    after[:, :, 1, 2] += 1.0  # in the first of 4 x 4 blocks of 4 x 4 positions

    def changed(stages: int) -> torch.Tensor:
        with torch.no_grad():
            x, y = (module.stages[:stages](module.stem(z)) for z in (before, after))
        return (x != y).any(1)[0]

    first = changed(1)
    assert first[:4, :4].all()
    assert not first[4:].any()
    assert not first[:, 4:].any()
    # a 3x3 convolution carries the change to position 4, in the window of position 2 of the halved map: the first block
    second = changed(2)
    assert second[:4, :4].all()
    assert not second[4:].any()
    assert not second[:, 4:].any()
    assert changed(3).all()

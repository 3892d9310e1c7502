"""Deep layer aggregation against published figures."""

from __future__ import annotations

import pytest
import torch

from archfront.space.architecture import Architecture
from archfront.space.library.block.pooled_residual import PooledResidual
from archfront.space.library.operator.conv import Conv
from archfront.space.references.dla import WIDE, aggregated
from archfront.space.types import Image

from .figures import check


@pytest.mark.parametrize(
    ("name", "params", "gmacs"),
    [("DLA-34", "15.74", 3.06), ("DLA-46-C", "1.301", 0.574), ("DLA-X-60-C", "1.32", 0.581), ("DLA-60", "22.04", 4.24)],
)
def test_the_networks_have_the_published_size_and_cost(name: str, params: str, gmacs: float) -> None:
    check(name, params, gmacs)


@pytest.mark.parametrize(
    ("ratio", "groups", "depths", "params"),
    [(0.5, 1, (1, 3, 4, 1), "33.27"), (1.0, 32, (1, 3, 4, 1), "26.31"), (0.5, 1, (2, 3, 5, 1), "53.39")],
)
def test_deeper_networks_with_residual_roots_have_their_published_sizes_too(
    ratio: float, groups: int, depths: tuple[int, ...], params: str
) -> None:
    block = PooledResidual(ratio=ratio, operator=Conv(groups=groups))
    architecture = Architecture(Image(3, 224, 224), aggregated(block, depths, WIDE, 1000, root_residual=True))
    with torch.device("meta"):
        found = sum(p.numel() for p in architecture.build().parameters())
    assert f"{found / 1e6:.2f}" == params

"""HRNet against published figures."""

from __future__ import annotations

import pytest
import torch

from archfront.space.architecture import Architecture
from archfront.space.references.hrnet import hrnet
from archfront.space.types import Image

from .figures import check


@pytest.mark.parametrize(
    ("name", "params", "gmacs"),
    [
        ("HRNet-W18-C-Small-v1", "13.19", 1.6),
        ("HRNet-W18-C-Small-v2", "15.60", 2.6),
        ("HRNet-W18-C", "21.30", 4.28),
        ("HRNet-W32-C", "41.23", 8.92),
    ],
)
def test_the_networks_have_the_published_size_and_cost(name: str, params: str, gmacs: float) -> None:
    check(name, params, gmacs)


@pytest.mark.parametrize(("width", "params"), [(30, "37.71"), (40, "57.56"), (44, "67.06"), (48, "77.47")])
def test_other_widths_have_their_published_sizes_too(width: int, params: str) -> None:
    architecture = Architecture(Image(3, 224, 224), hrnet(width, (1, 4, 3), 4, 1000))
    with torch.device("meta"):
        assert f"{sum(p.numel() for p in architecture.build().parameters()) / 1e6:.2f}" == params

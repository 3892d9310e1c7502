"""MOAT networks against published figures."""

from __future__ import annotations

import pytest
import torch

from archfront.space.references import references
from archfront.space.types import Image

from .figures import check


@pytest.mark.parametrize(
    ("name", "params", "gmacs"),
    [
        ("tiny-MOAT-0", "3.355", 1.04),
        ("tiny-MOAT-1", "5.123", 1.58),
        ("tiny-MOAT-2", "9.773", 2.97),
        ("MOAT-0", "27.847", 5.64),
    ],
)
def test_moat_has_the_published_size_and_cost(name: str, params: str, gmacs: float) -> None:
    check(name, params, gmacs)


@pytest.mark.parametrize("size", [(224, 224), (160, 256)])
def test_the_parameters_do_not_depend_on_the_image(size: tuple[int, int]) -> None:
    with torch.device("meta"):
        module = references["tiny-MOAT-0"].architecture(Image(3, *size)).build()
    assert sum(p.numel() for p in module.parameters()) == references["tiny-MOAT-0"].params

"""ResNeSt networks against published figures."""

from __future__ import annotations

import pytest
import torch

from archfront.space.architecture import Architecture
from archfront.space.references.resnest import resnest
from archfront.space.types import Image

from .figures import check


@pytest.mark.parametrize(
    ("name", "params", "gmacs"),
    [("ResNeSt-14d", "10.61", 2.75), ("ResNeSt-50d", "27.48", 5.37), ("ResNeSt-50d-4s2x40d", "30.42", 4.37)],
)
def test_resnest_has_the_published_size_and_cost(name: str, params: str, gmacs: float) -> None:
    check(name, params, gmacs)


@pytest.mark.parametrize(("depths", "stem", "params"), [((2, 2, 2, 2), 32, "17.07"), ((3, 4, 23, 3), 64, "48.28")])
def test_other_depths_and_stems_have_their_published_sizes_too(depths: tuple[int, ...], stem: int, params: str) -> None:
    architecture = Architecture(Image(3, 224, 224), resnest(depths, 1000, stem=stem))
    with torch.device("meta"):
        found = sum(p.numel() for p in architecture.build().parameters())
    assert f"{found / 1e6:.2f}" == params

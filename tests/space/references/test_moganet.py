"""MogaNet against published figures."""

from __future__ import annotations

import pytest
import torch

from archfront.space.architecture import Architecture
from archfront.space.references.moganet import moganet
from archfront.space.types import Image

from .figures import check, size_and_cost


def test_moganet_s_has_the_published_size_and_cost() -> None:
    check("MogaNet-S", "25.34", 4.97)


def test_moganet_xt_has_the_published_size_and_about_the_published_cost() -> None:
    params, gmacs = size_and_cost("MogaNet-XT")
    assert f"{params / 1e6:.2f}" == "2.96"
    assert gmacs == pytest.approx(0.80, rel=0.03)


@pytest.mark.parametrize(
    ("widths", "depths", "params"),
    [((32, 64, 128, 256), (3, 3, 12, 2), 5.20), ((64, 160, 320, 512), (4, 6, 22, 3), 43.8)],
)
def test_other_widths_and_depths_have_their_published_sizes_too(
    widths: tuple[int, ...], depths: tuple[int, ...], params: float
) -> None:
    architecture = Architecture(Image(3, 224, 224), moganet(widths, depths, 1000))
    with torch.device("meta"):
        found = sum(p.numel() for p in architecture.build().parameters())
    assert found / 1e6 == pytest.approx(params, rel=5e-3)

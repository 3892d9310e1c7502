"""UniRepLKNet, merged for deployment, against published figures."""

from __future__ import annotations

import pytest
import torch

from archfront.space import Architecture, Image
from archfront.space.references.unireplknet import SMALL, unireplknet

from .figures import check


@pytest.mark.parametrize(
    ("name", "params", "gmacs"),
    [
        ("UniRepLKNet-A", "4.437", 0.64),
        ("UniRepLKNet-F", "6.235", 0.905),
        ("UniRepLKNet-P", "10.742", 1.573),
        ("UniRepLKNet-T", "31.04", 4.9),
    ],
)
def test_unireplknet_has_the_published_size_and_cost(name: str, params: str, gmacs: float) -> None:
    check(name, params, gmacs)


def test_the_form_for_training_has_the_size_that_the_authors_code_counts() -> None:
    architecture = Architecture(Image(3, 224, 224), unireplknet(40, SMALL, 1000, merged=False))
    with torch.device("meta"):
        assert f"{sum(p.numel() for p in architecture.build().parameters()) / 1e6:.3f}" == "4.649"

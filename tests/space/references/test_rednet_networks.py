"""RedNets against the authors' table."""

from __future__ import annotations

import pytest
import torch

from archfront.hw_profiles.cost import cost
from archfront.space.references import references
from archfront.space.references.rednet import rednet
from archfront.space.types import Image

DEPTHS = {26: (1, 2, 4, 1), 38: (2, 3, 5, 2), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}


@pytest.mark.parametrize(("layers", "printed"), [(26, 9.23), (38, 12.39), (50, 15.54), (101, 25.65), (152, 33.99)])
def test_rednets_have_the_published_size(layers: int, printed: float) -> None:
    with torch.device("meta"):
        params = sum(p.numel() for p in rednet(DEPTHS[layers], 1000).build(Image(3, 224, 224)).parameters())
    assert params / 1e6 == pytest.approx(printed, abs=0.006)
    if layers in (26, 50):
        assert references[f"RedNet-{layers}"].params == params


def test_the_convolutions_of_rednet50_cost_what_was_counted_in_the_authors_network() -> None:
    found = cost(references["RedNet-50"].architecture())
    assert found.contractions / 1e9 == pytest.approx(2.577, rel=1e-3)
    assert found.macs / 1e9 == pytest.approx(2.71, rel=0.045)

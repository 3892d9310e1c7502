"""EfficientNets with conditional convolutions against published figures."""

from __future__ import annotations

import pytest
import torch

from archfront.hw_profiles.cost import cost
from archfront.space.references import references
from archfront.space.types import Image


@pytest.mark.parametrize(
    ("name", "printed", "published"),
    [
        ("CondConv-EfficientNet-B0 (4 experts)", "13.31", 402e6),
        ("CondConv-EfficientNet-B0 (8 experts)", "24.01", 413e6),
        ("CondConv-EfficientNet-B0-depth (8 experts)", "39.72", 614e6),
    ],
)
def test_conditional_efficientnets_have_the_published_size_and_cost(name: str, printed: str, published: float) -> None:
    reference = references[name]
    with torch.device("meta"):
        params = sum(p.numel() for p in reference.architecture().build().parameters())
    assert params == reference.params
    assert f"{params / 1e6:.2f}" == printed
    excess = 391e6 / cost(references["efficientnet_b0"].architecture()).contractions  # of the authors' count
    assert cost(reference.architecture()).contractions * excess == pytest.approx(published, rel=0.002)


def test_the_deeper_network_at_the_240_pixels_of_timm_costs_what_timm_counts() -> None:
    architecture = references["CondConv-EfficientNet-B0-depth (8 experts)"].architecture(Image(3, 240, 240))
    assert cost(architecture).macs / 1e9 == pytest.approx(0.75, rel=0.01)


@pytest.mark.parametrize(("experts", "published"), [(4, 11e6), (8, 22e6)])
def test_experts_add_to_efficientnet_b0_the_multiply_adds_that_the_authors_count(
    experts: int, published: float
) -> None:
    conditional = cost(references[f"CondConv-EfficientNet-B0 ({experts} experts)"].architecture()).contractions
    plain = cost(references["efficientnet_b0"].architecture()).contractions
    assert conditional - plain == pytest.approx(published, abs=1e6)

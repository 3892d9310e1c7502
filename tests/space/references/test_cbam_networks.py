"""Residual networks with CBAM against the paper's table 4."""

from __future__ import annotations

import pytest
import torch

from archfront.hw_profiles.cost import cost
from archfront.space.references import references


@pytest.mark.parametrize(
    ("name", "printed", "gmacs"),
    [
        ("ResNet-18 + CBAM", "11.78", 1.815),
        ("ResNet-50 + CBAM", "28.09", 4.09),
        ("ResNet-50 + CBAM (stride on 1x1)", "28.09", 3.864),
    ],
)
def test_networks_with_cbam_have_the_published_size_and_cost(name: str, printed: str, gmacs: float) -> None:
    reference = references[name]
    with torch.device("meta"):
        params = sum(p.numel() for p in reference.architecture().build().parameters())
    assert params == reference.params
    assert f"{params / 1e6:.2f}" == printed
    assert cost(reference.architecture()).contractions / 1e9 == pytest.approx(gmacs, rel=0.005)


def test_cbam_adds_a_perceptron_and_a_spatial_convolution_to_every_block() -> None:
    blocks = {256: 3, 512: 4, 1024: 6, 2048: 3}
    added = sum(n * (2 * c * c // 16 + c // 16 + c + 2 * 49 + 2) for c, n in blocks.items())
    assert references["ResNet-50 + CBAM"].params - references["resnet50"].params == added

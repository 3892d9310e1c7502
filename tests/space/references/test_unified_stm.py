"""One architecture with several mixers against published figures."""

from __future__ import annotations

import pytest
import torch

from archfront.space.references import references

from .figures import check


@pytest.mark.parametrize(
    ("name", "params", "gmacs"),
    [
        ("U-ConvNeXt-micro", "4.44", 0.65),
        ("U-ConvNeXt-tiny", "31.91", 5.0),
        ("U-HaloNet-micro", "4.39", 0.86),
        ("U-HaloNet-tiny", "31.52", 5.3),
        ("U-PVT-tiny", "31.16", 4.7),
    ],
)
def test_the_networks_have_the_published_size_and_cost(name: str, params: str, gmacs: float) -> None:
    check(name, params, gmacs)


def test_both_halves_of_every_block_start_with_a_factor_of_a_millionth() -> None:
    module = references["U-ConvNeXt-micro"].architecture().build()
    scales = [p for name, p in module.named_parameters() if ".scale" in name]
    assert len(scales) == 2 * (3 + 3 + 8 + 3)
    assert all(torch.equal(scale, torch.full_like(scale, 1e-6)) for scale in scales)

"""Receptive fields and paths through blocks, where they are known beforehand."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import nn

from archfront.evaluators.analysis import Region, gradcat, receptive_field, share_of_pixels
from archfront.space.architecture import Architecture
from archfront.space.network import NetworkModule
from archfront.space.references.nest import nested
from archfront.space.types import Image


@pytest.mark.parametrize("layers", [1, 2, 4])
def test_the_field_of_stacked_3x3_convolutions_is_two_more_pixels_a_layer(layers: int) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(*(nn.Conv2d(3, 3, 3, padding=1) for _ in range(layers)))
    field = receptive_field(module, torch.randn(2, 3, 21, 17))
    expected = torch.zeros(21, 17)
    expected[10 - layers : 11 + layers, 8 - layers : 9 + layers] = 1
    assert torch.equal((field > 0).float(), expected)
    assert float(field.sum()) == pytest.approx(1)


def test_the_share_of_pixels_counts_the_strongest_first() -> None:
    field = torch.tensor([[0.1, 0.0], [0.6, 0.3]])
    assert [share_of_pixels(field, energy) for energy in (0.2, 0.6, 0.7, 0.99)] == [0.25, 0.25, 0.5, 0.75]


class Corner(nn.Module):
    """Scores that are the means of the four quarters of a map."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.adaptive_avg_pool2d(x.mean(1, keepdim=True), 2).flatten(1)


@pytest.mark.parametrize(("score", "corner"), [(0, (0, 0)), (1, (0, 0.5)), (2, (0.5, 0)), (3, (0.5, 0.5))])
def test_the_path_begins_with_the_quarter_that_the_score_is_made_of(score: int, corner: tuple[float, float]) -> None:
    architecture = Architecture(Image(3, 32, 32), nested(16, 2, (1, 1, 1), 4, patch=1, extent=8))
    module = architecture.build().eval()
    assert isinstance(module, NetworkModule)
    module.head = Corner()
    torch.manual_seed(0)
    path = gradcat(module, torch.randn(3, 32, 32), score)
    assert path[0] == Region(*corner, 0.5)
    assert [region.extent for region in path] == [0.5, 0.25, 0.125]
    for outer, inner in pairwise(path):
        assert outer.top <= inner.top < outer.top + outer.extent
        assert outer.left <= inner.left < outer.left + outer.extent


def test_the_path_goes_down_to_the_one_block_that_holds_anything() -> None:
    stages = nn.Sequential(nn.Identity(), nn.AvgPool2d(2), nn.AvgPool2d(2))
    network = NetworkModule(
        nn.Conv2d(1, 1, 1, bias=False), stages, nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    )
    image = torch.zeros(1, 16, 16)
    image[0, 11, 4] = 1.0
    assert gradcat(network, image, 0) == (Region(0.5, 0.0, 0.5), Region(0.5, 0.25, 0.25), Region(0.625, 0.25, 0.125))

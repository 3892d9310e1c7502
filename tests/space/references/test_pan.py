"""Super-resolution networks of pixel attention against published figures and plain interpolation."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from archfront.hw_profiles.cost import cost, count
from archfront.space.architecture import Architecture
from archfront.space.errors import ShapeError
from archfront.space.references import references
from archfront.space.references.pan import pan
from archfront.space.types import Feature, Image

from .figures import check


@pytest.mark.parametrize(
    ("name", "params", "gmacs"), [("PAN x4", "0.272", 28.16), ("PAN x2", "0.261", 70.52), ("PAN x3", "0.261", 38.99)]
)
def test_pan_has_the_published_size_and_cost(name: str, params: str, gmacs: float) -> None:
    check(name, params, gmacs)


@pytest.mark.parametrize(("name", "size"), [("PAN x4", (720, 1280)), ("PAN x2", (720, 1280)), ("PAN x3", (720, 1278))])
def test_the_figures_are_for_a_result_of_1280_by_720(name: str, size: tuple[int, int]) -> None:
    assert references[name].architecture().output == Feature(3, size)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_with_the_last_convolution_at_zero_the_image_is_interpolated(scale: int) -> None:
    architecture = Architecture(Image(3, 7, 9), pan(scale, 3, width=8, upsampled=4, blocks=2))
    module = architecture.build().double()
    nn.init.zeros_(module.last.conv.weight)
    nn.init.zeros_(module.last.conv.bias)
    (x,) = architecture.input.example(2, dtype=torch.float64)
    expected = F.interpolate(x, scale_factor=scale, mode="bilinear", align_corners=False)
    torch.testing.assert_close(module(x), expected)


def test_the_cost_of_its_parts_is_the_cost_of_the_network() -> None:
    architecture = Architecture(Image(3, 12, 10), pan(4, 3, width=8, upsampled=4, blocks=2))
    total, whole = cost(architecture), count(architecture.build(), architecture.input)
    assert (total.macs, total.contractions, total.params) == (whole.macs, whole.contractions, whole.params)
    assert Architecture.from_dict(architecture.to_dict()) == architecture


def test_a_result_with_other_colours_than_the_image_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"last: must yield an image of type 3x16x16, but yields 1x16x16"):
        Architecture(Image(3, 8, 8), pan(2, 1))


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Layers this small only wait for each other on several threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def textures(number: int, generator: torch.Generator) -> Tensor:
    """Grey images of 16x16 made of a few random waves."""
    steps = torch.arange(16.0)
    total = torch.zeros(number, 1, 16, 16)
    for _ in range(4):
        down, right, phase = torch.rand(3, number, 1, 1, 1, generator=generator)
        angle = 2 * math.pi * (0.2 * down * steps[:, None] + 0.2 * right * steps[None, :] + phase)
        total += angle.sin().sign() * 0.1 + angle.sin() * 0.1
    return total


def test_after_a_short_training_a_small_network_beats_bicubic_interpolation(one_thread: None) -> None:
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    module = Architecture(Image(1, 8, 8), pan(2, 1, width=8, upsampled=8, blocks=1)).build()
    optimiser = torch.optim.Adam(module.parameters(), lr=1e-2)
    for _ in range(60):
        fine = textures(8, generator)
        loss = F.l1_loss(module(F.avg_pool2d(fine, 2)), fine)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    fine = textures(64, generator)
    coarse = F.avg_pool2d(fine, 2)
    with torch.no_grad():
        ours = F.mse_loss(module(coarse), fine)
    bicubic = F.mse_loss(F.interpolate(coarse, scale_factor=2, mode="bicubic"), fine)
    assert 10 * math.log10(bicubic / ours) > 0.2  # decibels of PSNR

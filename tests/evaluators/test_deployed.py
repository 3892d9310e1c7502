"""Networks in int8: close to the network in float, coarser than it, and for any number of images."""

import pytest
import torch
from torch import Tensor, nn

from archfront.evaluators.deployed import BATCH, in_int8


def network() -> nn.Module:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(8, 4)).eval()


def images(count: int, scale: float = 1.0) -> Tensor:
    return scale * torch.randn(count, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def test_int8_is_near_the_network_and_not_the_network() -> None:
    net, x = network(), images(100)
    exact, found = net(x), in_int8(net, [x])(x)
    error = (found - exact).square().mean().sqrt() / exact.std()
    assert 1e-5 < error < 0.1


@pytest.mark.parametrize("count", [1, BATCH, BATCH + 1])
def test_any_number_of_images_gives_the_same_as_one_by_one(count: int) -> None:
    x = images(count)
    compute = in_int8(network(), [images(80)])
    assert torch.allclose(compute(x), torch.cat([compute(x[i : i + 1]) for i in range(count)]), atol=1e-6)


def test_ranges_come_from_the_calibration_images() -> None:
    """Calibrated with images a hundred times too dark, activations are cut off."""
    net, x = network(), images(100)
    exact = net(x)
    right, wrong = ((in_int8(net, [scale * x])(x) - exact).square().mean() for scale in (1.0, 0.01))
    assert wrong > 10 * right

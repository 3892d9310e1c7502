"""DropBlock against its definition and the statistics it promises."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor, nn

from archfront.hw_profiles.cost import cost, part_cost
from archfront.space.library.block.bottleneck import Bottleneck
from archfront.space.library.block.regularised_bottleneck import RegularisedBottleneck
from archfront.space.library.gate.dropblock import DropBlock
from archfront.space.references import references
from archfront.space.types import Feature


def built(size: tuple[int, ...], channels: int = 16, **options: object) -> nn.Module:
    torch.manual_seed(0)
    return DropBlock(**options).build(Feature(channels, size)).train()


def test_evaluation_is_the_identity_and_costs_nothing() -> None:
    x = torch.randn(2, 16, 9, 7)
    assert built((9, 7)).eval()(x) is x
    found = part_cost(DropBlock(), Feature(16, (9, 7)))
    assert (found.macs, found.params) == (0, 0)


@pytest.mark.parametrize(("rate", "block"), [(0.1, 7), (0.05, 5), (0.1, 1)])
def test_the_share_of_zeros_is_the_rate(rate: float, block: int) -> None:
    drop = built((28, 28), 64, rate=rate, block=block)
    zeros = 1 - drop.mask(torch.ones(16, 64, 28, 28), rate).mean()
    assert zeros.item() == pytest.approx(rate, rel=0.1)


def covered(zero: Tensor, block: tuple[int, ...]) -> Tensor:
    """The positions that lie in some block of zeros, found by trying every block."""
    found = torch.zeros_like(zero)
    for corner in itertools.product(*(range(n - b + 1) for n, b in zip(zero.shape, block, strict=True))):
        place = tuple(slice(c, c + b) for c, b in zip(corner, block, strict=True))
        if zero[place].all():
            found[place] = True
    return found


@pytest.mark.parametrize(
    ("size", "block"), [((12, 9), (3, 3)), ((12, 9), (4, 4)), ((5, 9), (5, 7)), ((15,), (3,)), ((4, 5, 6), (3, 3, 3))]
)
def test_every_zero_belongs_to_a_block_of_zeros(size: tuple[int, ...], block: tuple[int, ...]) -> None:
    drop = built(size, rate=0.2, block=max(block))
    zeros = drop.mask(torch.ones(4, 16, *size), 0.2) == 0
    assert 0.05 < zeros.float().mean() < 0.4
    for plane in zeros.flatten(0, 1):
        assert torch.equal(covered(plane, block), plane)


def test_what_is_left_is_scaled_so_that_the_mean_stays() -> None:
    drop = built((14, 14), rate=0.2, block=3)
    y = drop(torch.full((2, 16, 14, 14), 3.0))
    assert y.mean().item() == pytest.approx(3.0, rel=1e-5)
    left = y[y != 0]
    assert len(left) < y.numel()
    torch.testing.assert_close(left, left[:1].expand_as(left))


def test_blocks_as_large_as_the_map_drop_whole_channels_and_coupled_ones_all_channels_alike() -> None:
    mask = built((4, 4), 64, rate=0.5, block=7).mask(torch.ones(8, 64, 4, 4), 0.5).flatten(2)
    assert torch.equal(mask.amin(-1), mask.amax(-1))
    assert 0.3 < mask.mean() < 0.7
    assert built((9, 9), coupled=True).mask(torch.ones(2, 16, 9, 9), 0.1).shape == (2, 1, 9, 9)


def test_the_rate_grows_over_the_ramp_and_may_be_set_at_any_time() -> None:
    drop = built((20, 20), 64, rate=0.2, block=1, ramp=10)
    x = torch.ones(4, 64, 20, 20)
    shares = [(drop(x) == 0).float().mean().item() for _ in range(12)]
    assert shares == pytest.approx([min(1.0, step / 10) * 0.2 for step in range(1, 13)], abs=0.01)
    drop.rate = 0.4
    assert (drop(x) == 0).float().mean().item() == pytest.approx(0.4, abs=0.01)


@pytest.mark.parametrize("on_skip", [True, False])
def test_a_regularised_bottleneck_drops_behind_every_convolution_in_training_only(on_skip: bool) -> None:
    x_type = Feature(16, (10, 8))
    block = RegularisedBottleneck(width=32, stride=2, regulariser=DropBlock(block=3), on_skip=on_skip)
    module = block.build(x_type).double()
    plain = Bottleneck(width=32, stride=2).build(x_type).double()
    plain.load_state_dict(module.state_dict())
    (x,) = x_type.example(2, dtype=torch.float64)
    torch.testing.assert_close(module.eval()(x), plain.eval()(x))
    module.drop1, module.drop2, module.drop3 = Times(2.0), Times(3.0), Times(5.0)
    if on_skip:
        module.drop_skip = Times(7.0)
    hidden = 3 * plain.act1(plain.norm(plain.conv(2 * plain.reduce(x))))
    skip = plain.shortcut(x) * (7 if on_skip else 1)
    torch.testing.assert_close(module(x), torch.relu(skip + 5 * plain.expand(hidden)))


class Times(nn.Module):
    """Multiplies by a number."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * x


def test_resnet50_with_dropblock_has_the_parameters_and_cost_of_resnet50() -> None:
    ours, plain = (references[name].architecture() for name in ("ResNet-50 + DropBlock", "resnet50"))
    assert references["ResNet-50 + DropBlock"].params == references["resnet50"].params
    assert (cost(ours).params, cost(ours).macs) == (cost(plain).params, cost(plain).macs)
    module = ours.network.parts(ours.input)[4].spec.build(ours.network.parts(ours.input)[4].input)
    rates = {child.rate for child in module.modules() if hasattr(child, "ramp")}
    assert rates == {0.1}

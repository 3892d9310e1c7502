"""Multi-order gated aggregation and channel aggregation against plain torch."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from archfront.evaluators.layout import layouts, take
from archfront.space.errors import ShapeError
from archfront.space.library.channel_mixer.channel_aggregation import ChannelAggregation
from archfront.space.library.channel_mixer.conv_feed_forward import ConvFeedForward
from archfront.space.library.mixer.multi_order_aggregation import MultiOrderAggregation, MultiOrderConv
from archfront.space.types import Feature

X = Feature(16, (9, 8))


def built(spec: MultiOrderAggregation | ChannelAggregation | ConvFeedForward, x: Feature = X) -> nn.Module:
    """The module in double precision with vectors of parameters that are no special case."""
    torch.manual_seed(0)
    module = spec.build(x).double().eval()
    for parameter in module.parameters():
        if parameter.ndim == 1:
            nn.init.uniform_(parameter, 0.5, 1.5)
    return module


def dilated(x: Tensor, conv: nn.Conv2d, kernel: int, dilation: int) -> Tensor:
    """A depthwise convolution, one tap at a time."""
    reach = dilation * (kernel // 2)
    padded = F.pad(x, (reach,) * 4)
    height, width = x.shape[2:]
    y = conv.bias[:, None, None].expand_as(x).clone()
    for r in range(kernel):
        for c in range(kernel):
            shifted = padded[:, :, r * dilation : r * dilation + height, c * dilation : c * dilation + width]
            y = y + conv.weight[:, 0, r, c][:, None, None] * shifted
    return y


def test_the_dilated_convolutions_work_on_the_result_of_the_first() -> None:
    module = built(MultiOrderAggregation())
    (x,) = X.example(2, dtype=torch.float64)
    z = module.enter(x)
    u = F.silu(z + module.decompose.scale[:, None, None] * (z - z.mean((2, 3), keepdim=True)))
    values = module.values
    base = dilated(u, values.base, 5, 1)
    orders = (base[:, :2], dilated(base[:, 2:8], values.middle, 5, 2), dilated(base[:, 8:], values.high, 7, 3))
    v = values.project(torch.cat(orders, 1))
    expected = module.leave(F.silu(module.gate(u)) * F.silu(v)) + x
    torch.testing.assert_close(module(x), expected)


@pytest.mark.parametrize(
    ("split", "kernels", "dilations", "widths"),
    [
        ((1, 1, 2), (3, 5, 7), (1, 2, 2), (4, 4, 8)),
        ((0, 1, 1), (5, 5, 7), (1, 1, 1), (0, 8, 8)),
        ((1, 0, 1), (5, 5, 7), (1, 2, 3), (8, 0, 8)),
        ((0, 0, 1), (5, 5, 7), (1, 2, 3), (0, 0, 16)),
    ],
)
def test_shares_kernels_and_dilations_are_free(
    split: tuple[int, int, int],
    kernels: tuple[int, int, int],
    dilations: tuple[int, int, int],
    widths: tuple[int, int, int],
) -> None:
    module = built(MultiOrderAggregation(split=split, kernels=kernels, dilations=dilations)).values
    u = X.example(2, dtype=torch.float64)[0]
    base = dilated(u, module.base, kernels[0], dilations[0])
    low, middle, high = base.split(widths, 1)
    parts = [low]
    if widths[1]:
        parts.append(dilated(middle, module.middle, kernels[1], dilations[1]))
    parts.append(dilated(high, module.high, kernels[2], dilations[2]))
    torch.testing.assert_close(module(u), module.project(torch.cat(parts, 1)))


def test_a_pixel_reaches_23_pixels_through_the_highest_order() -> None:
    module = MultiOrderConv(1, 3, 4).double()
    for parameter in module.parameters():
        nn.init.ones_(parameter) if parameter.ndim > 1 else nn.init.zeros_(parameter)
    x = torch.zeros(1, 8, 41, 41, dtype=torch.float64)
    x[0, 7, 20, 20] = 1
    rows = module.high(module.base(x)[:, 4:])[0, 3].sum(1).nonzero().flatten()
    assert int(rows[-1] - rows[0]) + 1 == 5 + 6 * 3 == 23


def test_without_rescaling_the_decompositions_are_identities() -> None:
    module, mlp = built(MultiOrderAggregation()), built(ChannelAggregation())
    nn.init.zeros_(module.decompose.scale)
    nn.init.zeros_(mlp.decompose.scale)
    (x,) = X.example(2, dtype=torch.float64)
    u = F.silu(module.enter(x))
    expected = module.leave(F.silu(module.gate(u)) * F.silu(module.values(u))) + x
    torch.testing.assert_close(module(x), expected)
    torch.testing.assert_close(mlp(x), mlp.project(F.gelu(mlp.depthwise(mlp.expand(x)))))


def test_at_first_the_rescaling_is_all_but_nothing() -> None:
    assert torch.equal(MultiOrderAggregation().build(X).decompose.scale, torch.full((16,), 1e-5))
    assert torch.equal(ChannelAggregation().build(X).decompose.scale, torch.full((64,), 1e-5))


def test_channels_are_set_against_the_one_number_that_they_share_at_a_position() -> None:
    module = built(ChannelAggregation(expand=3, kernel=5))
    (x,) = X.example(2, dtype=torch.float64)
    u = F.gelu(dilated(module.expand(x), module.depthwise, 5, 1))
    common = torch.einsum("nchw,c->nhw", u, module.common.weight[0, :, 0, 0]) + module.common.bias
    y = u + module.decompose.scale[:, None, None] * (u - F.gelu(common)[:, None])
    torch.testing.assert_close(module(x), module.project(y))


def test_without_the_aggregation_it_is_a_convolutional_perceptron() -> None:
    with_it = sum(p.numel() for p in ChannelAggregation().build(X).parameters())
    without = sum(p.numel() for p in ConvFeedForward().build(X).parameters())
    assert with_it - without == 64 + 64 + 1


def test_widths_that_the_shares_do_not_divide_are_refused_with_one_that_works() -> None:
    with pytest.raises(ShapeError, match="use a multiple of 8 channels, such as 24"):
        MultiOrderAggregation().output(Feature(20, (8, 8)))


@pytest.mark.parametrize("split", [(1, 3, 4), (0, 1, 1), (2, 2, 4)])
def test_channels_keep_their_order_of_convolution_when_the_width_shrinks(split: tuple[int, int, int]) -> None:
    spec = MultiOrderAggregation(split=split)
    wide, narrow = ({layout.name: layout for layout in layouts(spec.build(Feature(c, (5, 4))))} for c in (64, 32))

    def orders(channels: int) -> list[int]:
        return [order for order, share in enumerate(split) for _ in range(share * channels // sum(split))]

    # labels of the channels that a stored tensor has on either side, cut like the tensor
    for name in ("enter.weight", "decompose.scale", "values.base.weight", "gate.weight", "values.project.weight"):
        inputs = name in ("gate.weight", "values.project.weight")
        labels = torch.tensor(orders(64))
        shape = wide[name].shape
        stored = labels.expand(shape[0], -1) if inputs else labels.reshape(-1, *(1 for _ in shape[1:])).expand(shape)
        cut = take(stored.reshape(shape) if not inputs else stored[:, :, None, None], narrow[name])
        kept = cut[0].flatten() if inputs else cut.reshape(32, -1)[:, 0]
        assert kept.tolist() == orders(32), name

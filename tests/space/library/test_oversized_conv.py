"""Oversized convolutions against Toeplitz matrices, and the other parts of ParCNetV2."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from archfront.space.library.block.residual_scale_metaformer import ResidualScaleMetaFormer
from archfront.space.library.channel_mixer.bifurcate_gate import BifurcateGate
from archfront.space.library.layers_centred_norm import CentredUnitNorm2d
from archfront.space.library.mixer.identity import IdentityMixer
from archfront.space.library.mixer.oversized_conv import OversizedConv, OversizedDepthwise, kernel_length
from archfront.space.types import Feature


def toeplitz(taps: Tensor, size: int) -> Tensor:
    """T[i, j] = taps[j - i + size - 1] of 2 size - 1 taps: (C, size, size)."""
    rows = [[taps[:, j - i + size - 1] for j in range(size)] for i in range(size)]
    return torch.stack([torch.stack(row, -1) for row in rows], 1)


def test_kernels_of_twice_the_map_are_a_full_toeplitz_matrix_along_each_direction() -> None:
    torch.manual_seed(0)
    module = OversizedDepthwise(3, (7, 5)).double()
    x = torch.randn(2, 3, 7, 5, dtype=torch.float64)
    down = toeplitz(module.vertical.weight[:, 0, :, 0], 7)
    right = toeplitz(module.horizontal.weight[:, 0, 0], 5)
    torch.testing.assert_close(module(x), torch.einsum("cij,cwv,ncjv->nciw", down, right, x))


@pytest.mark.parametrize("place", [(0, 0), (3, 2), (6, 4)])
def test_an_impulse_reaches_its_column_first_and_then_the_whole_map(place: tuple[int, int]) -> None:
    module = OversizedDepthwise(1, (7, 5))
    for conv in (module.vertical, module.horizontal):
        torch.nn.init.ones_(conv.weight)
    x = torch.zeros(1, 1, 7, 5)
    x[0, 0, place[0], place[1]] = 1
    column = torch.zeros(7, 5)
    column[:, place[1]] = 1
    assert torch.equal(module.vertical(x)[0, 0], column)
    assert torch.equal(module(x)[0, 0], torch.ones(7, 5))


def test_lengths_are_odd_and_those_of_the_paper_at_its_four_resolutions() -> None:
    assert [kernel_length("2map-1", n) for n in (56, 28, 14, 7)] == [111, 55, 27, 13]
    assert [kernel_length("map", n) for n in (7, 8)] == [7, 9]
    assert [kernel_length("map-1", n) for n in (1, 2, 7, 8)] == [1, 1, 5, 7]


def test_interpolated_kernels_are_the_stored_ones_at_their_own_size_and_keep_their_ends_at_others() -> None:
    plain, elastic = OversizedDepthwise(2, (6, 6)), OversizedDepthwise(2, (6, 6), interpolate=True)
    elastic.load_state_dict(plain.state_dict())
    x = torch.randn(1, 2, 6, 6)
    assert torch.equal(plain(x), elastic(x))
    impulse = torch.zeros(1, 2, 9, 6)
    impulse[:, :, 0, 0] = 1
    down, across = elastic.vertical.weight[:, 0, :, 0], elastic.horizontal.weight[:, 0, 0]
    torch.testing.assert_close(elastic(impulse)[0, :, 8, 0], down[:, 0] * across[:, 5])


def test_a_fixed_kernel_takes_other_sizes() -> None:
    module = OversizedConv().build(Feature(4, (6, 6)))
    assert module(torch.randn(2, 4, 9, 3)).shape == (2, 4, 9, 3)


@pytest.mark.parametrize("gate", ["bifurcate", "sigmoid", "none"])
def test_the_linear_half_multiplies_the_convolved_activated_half(gate: str) -> None:
    torch.manual_seed(0)
    module = OversizedConv(gate=gate, kernel=3).build(Feature(4, (5, 6))).double()
    x = torch.randn(2, 4, 5, 6, dtype=torch.float64)
    *values, context = module.project_in(x).split(4, 1)
    context = F.gelu(context)
    factor = module.wide(context) + module.near(context)
    y = {
        "bifurcate": lambda: values[0] * factor,
        "sigmoid": lambda: values[0] * factor.sigmoid(),
        "none": lambda: factor,
    }
    torch.testing.assert_close(module(x), module.project_out(y[gate]()))


def test_the_channel_unit_multiplies_its_first_half_with_its_activated_second_half() -> None:
    torch.manual_seed(0)
    module = BifurcateGate(ratio=5).build(Feature(4, (3, 2))).double()
    x = torch.randn(2, 4, 3, 2, dtype=torch.float64)
    assert module.expand.weight.shape[0] == 20
    hidden = torch.einsum("oc,nchw->nohw", module.expand.weight[:, :, 0, 0], x) + module.expand.bias[:, None, None]
    gate = hidden[:, 10:]
    gated = hidden[:, :10] * gate * 0.5 * (1 + torch.erf(gate / math.sqrt(2)))
    torch.testing.assert_close(module(x), torch.einsum("oc,nchw->nohw", module.project.weight[:, :, 0, 0], gated))


def test_the_norm_is_layer_norm_divided_by_the_root_of_the_width() -> None:
    module = CentredUnitNorm2d(16).double()
    x = torch.randn(2, 16, 3, 4, dtype=torch.float64)
    normed = F.layer_norm(x.permute(0, 2, 3, 1), (16,), eps=0.0).permute(0, 3, 1, 2)
    torch.testing.assert_close(module(x), normed / 4)
    torch.testing.assert_close(module(x).norm(dim=1), torch.ones(2, 3, 4, dtype=torch.float64))


def test_the_norm_of_equal_channels_is_zero_with_finite_gradient() -> None:
    x = torch.ones(1, 4, 2, 2, requires_grad=True)
    y = CentredUnitNorm2d(4)(x)
    y.sum().backward()
    assert torch.equal(y, torch.zeros_like(y))
    assert x.grad is not None and x.grad.isfinite().all()


def test_a_residual_scale_weighs_the_shortcut_and_not_the_branch() -> None:
    torch.manual_seed(0)
    spec = ResidualScaleMetaFormer(mixer=IdentityMixer(), residual_scale=0.5)
    module = spec.build(Feature(8, (3, 3))).double()
    x = torch.randn(2, 8, 3, 3, dtype=torch.float64)
    y = 0.5 * x + module.norm1(x)
    torch.testing.assert_close(module(x), 0.5 * y + module.channel_mixer(module.norm2(y)))

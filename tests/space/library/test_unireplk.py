"""UniRepLKNet: dilated branches, the merged form, the field of view."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archfront.space.library.block.unireplk import UniRepLK
from archfront.space.library.mixer.dilated_reparam import DILATED_BRANCHES, DilatedReparam
from archfront.space.types import Feature

SIZE = Feature(4, (19, 18))


def trained(module: nn.Module) -> nn.Module:
    """The module with weights and batch statistics that are nothing special, in evaluation mode."""
    torch.manual_seed(0)
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        if tensor.is_floating_point():
            nn.init.uniform_(tensor, 0.5, 1.5) if name.endswith("var") else nn.init.normal_(tensor, std=0.3)
    return module.eval()


@pytest.mark.parametrize("kernel", DILATED_BRANCHES)
def test_every_branch_fits_into_the_large_kernel_and_the_merged_kernel_computes_their_sum(kernel: Any) -> None:
    assert all((d * (k - 1) + 1) % 2 == 1 and d * (k - 1) + 1 <= kernel for k, d in DILATED_BRANCHES[kernel])
    module = trained(DilatedReparam(kernel=kernel).build(SIZE))
    x = torch.randn(2, 4, 19, 18)
    merged = module.merged()
    assert merged.weight.shape == (4, 1, kernel, kernel)
    assert float((module(x) - merged(x)).abs().max()) < 1e-4


@pytest.mark.parametrize("kernel", [3, 5, 7, 9, 11, 13, 15, 17])
@pytest.mark.parametrize("options", [{}, {"response": False, "layer_scale": None}, {"gate": None, "reparam": False}])
def test_the_merged_block_computes_what_the_trained_block_computes(kernel: Any, options: dict[str, Any]) -> None:
    module = trained(UniRepLK(kernel=kernel, **options).build(SIZE))
    merged = UniRepLK(kernel=kernel, merged=True, **options).build(SIZE).eval()
    module.merge_into(merged)
    x = torch.randn(2, 4, 19, 18)
    with torch.no_grad():
        assert float((module(x) - merged(x)).abs().max()) < 1e-4 * max(1.0, float(module(x).abs().max()))
    assert sum(p.numel() for p in merged.parameters()) < sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(("kernel", "branches"), [(3, 0), (5, 0), (7, 3), (13, 5), (17, 5)])
def test_small_kernels_have_no_branches_beside_them(kernel: Any, branches: int) -> None:
    block = UniRepLK(kernel=kernel).build(SIZE)
    dilated = [m for m in block.modules() if isinstance(m, nn.Conv2d) and m.groups == 4]
    assert len(dilated) == 1 + branches


def energy(blocks: nn.Module, extent: int) -> Tensor:
    """The energy of the gradient of the centre of the output with respect to every pixel."""
    x = torch.randn(8, 4, extent, extent, requires_grad=True)
    blocks(x)[:, :, extent // 2, extent // 2].sum().backward()
    assert x.grad is not None
    return x.grad.square().sum((0, 1))


def half_energy_side(field: Tensor) -> int:
    """The side of the smallest centred square that holds 99 % of the energy."""
    centre, total = field.shape[0] // 2, float(field.sum())
    return next(
        2 * r + 1
        for r in range(centre + 1)
        if float(field[centre - r : centre + r + 1, centre - r : centre + r + 1].sum()) >= 0.99 * total
    )


def test_two_large_kernels_see_farther_than_four_small_ones() -> None:
    torch.manual_seed(0)
    x = Feature(4, (41, 41))
    large = nn.Sequential(*(UniRepLK(kernel=13, layer_scale=1.0).build(x) for _ in range(2))).eval()
    small = nn.Sequential(*(UniRepLK(kernel=3, layer_scale=1.0, gate=None).build(x) for _ in range(4))).eval()
    with torch.no_grad():
        for stack in (large, small):
            for module in stack.modules():
                if isinstance(module, nn.Conv2d) and module.groups == 4:
                    module.weight.fill_(1.0)
    assert half_energy_side(energy(large, 41)) > half_energy_side(energy(small, 41))


def test_the_large_kernel_alone_is_the_convolution_of_the_paper() -> None:
    module = trained(DilatedReparam(kernel=9).build(SIZE))
    x = torch.randn(1, 4, 19, 18)
    expected = module.norm(F.conv2d(x, module.conv.weight, padding=4, groups=4))
    for (k, d), conv, norm in zip(DILATED_BRANCHES[9], module.convs.values(), module.norms.values(), strict=True):
        expected = expected + norm(F.conv2d(x, conv.weight, padding=d * (k - 1) // 2, dilation=d, groups=4))
    torch.testing.assert_close(module(x), expected)

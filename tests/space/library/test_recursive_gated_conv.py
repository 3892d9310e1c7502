"""Recursive gated convolution against its recursion by hand, its degree, and its spectral variant."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor, nn

from archfront.space.errors import ShapeError
from archfront.space.library.mixer.recursive_gated_conv import (
    GlobalLocalFilter,
    RecursiveGatedConv,
    RecursiveGatedConvolution,
)
from archfront.space.types import Feature


def built(spec: RecursiveGatedConv, channels: int = 16, size: tuple[int, int] = (6, 5)) -> RecursiveGatedConvolution:
    torch.manual_seed(0)
    module = spec.build(Feature(channels, size)).double()
    assert isinstance(module, RecursiveGatedConvolution)
    return module


def pointwise(conv: nn.Module, x: Tensor) -> Tensor:
    return torch.einsum("oc,nchw->nohw", conv.weight[:, :, 0, 0], x) + conv.bias[:, None, None]


def test_order_one_is_one_gate_on_the_convolved_half() -> None:
    module = built(RecursiveGatedConv(order=1, kernel=3, scale=0.25))
    x = torch.randn(2, 16, 6, 5, dtype=torch.float64)
    gate, query = pointwise(module.project_in, x).split(16, 1)
    expected = pointwise(module.project_out, gate * 0.25 * module.spatial(query))
    torch.testing.assert_close(module(x), expected)


def test_order_three_multiplies_three_gates_of_rising_width() -> None:
    module = built(RecursiveGatedConv(order=3))
    x = torch.randn(2, 16, 6, 5, dtype=torch.float64)
    projected = pointwise(module.project_in, x)
    assert projected.shape[1] == 32
    gates = module.spatial(projected[:, 4:]) / 3
    y = projected[:, :4] * gates[:, :4]
    y = pointwise(module.rises[1], y) * gates[:, 4:12]
    y = pointwise(module.rises[0], y) * gates[:, 12:]
    torch.testing.assert_close(module(x), pointwise(module.project_out, y))


@pytest.mark.parametrize("order", [1, 2, 3, 4, 5])
def test_without_biases_the_result_is_a_polynomial_of_degree_order_plus_one(order: int) -> None:
    module = built(RecursiveGatedConv(order=order, kernel=3))
    for name, parameter in module.named_parameters():
        if name.endswith("bias"):
            nn.init.zeros_(parameter)
    nn.init.dirac_(module.spatial.weight, groups=module.spatial.groups)
    x = torch.randn(2, 16, 6, 5, dtype=torch.float64)
    torch.testing.assert_close(module(1.5 * x), 1.5 ** (order + 1) * module(x))


def test_the_multiply_adds_follow_the_formula_of_the_paper() -> None:
    order, kernel, width, positions = 4, 7, 32, 30
    module = built(RecursiveGatedConv(order=order, kernel=kernel), width)
    weights = sum(p.numel() for p in module.parameters() if p.ndim > 1)
    half = 2.0 ** -(order - 1)
    formula = width * (2 * width + kernel**2 * (2 - half) + width * 2 / 3 * (1 - half**2) + width)
    assert positions * weights == pytest.approx(positions * formula)


def test_a_spectral_weight_of_one_passes_its_half_through() -> None:
    module = GlobalLocalFilter(8, (6, 5)).double()
    with torch.no_grad():
        module.weight.copy_(torch.tensor([1.0, 0.0])[:, None, None].expand_as(module.weight))
    x = torch.randn(2, 4, 6, 5, dtype=torch.float64)
    torch.testing.assert_close(module.filtered(x), x)


def test_a_product_of_spectra_is_a_circular_convolution() -> None:
    """The convolution theorem, with sums over all positions in place of a transform."""
    module = GlobalLocalFilter(2, (4, 6)).double()
    kernel = torch.randn(4, 6, dtype=torch.float64)
    spectrum = torch.fft.rfft2(kernel)
    with torch.no_grad():
        module.weight.copy_(torch.stack((spectrum.real, spectrum.imag))[None])
    x = torch.randn(1, 1, 4, 6, dtype=torch.float64)
    expected = sum(
        kernel[r, c] * x.roll((r, c), (2, 3)) for r in range(kernel.shape[0]) for c in range(kernel.shape[1])
    )
    torch.testing.assert_close(module.filtered(x), expected)


def test_the_halves_of_the_spectral_variant_are_interleaved() -> None:
    module = GlobalLocalFilter(8, (4, 4)).double()
    module.norm1, module.norm2 = nn.Identity(), nn.Identity()
    x = torch.randn(1, 8, 4, 4, dtype=torch.float64)
    y = module(x)
    torch.testing.assert_close(y[:, 0::2], module.local(x[:, :4]))
    torch.testing.assert_close(y[:, 1::2], module.filtered(x[:, 4:]))


def test_a_spectral_filter_runs_on_other_sizes() -> None:
    module = RecursiveGatedConv(order=2, filter="global_local").build(Feature(16, (8, 8)))
    assert module(torch.randn(2, 16, 11, 6)).shape == (2, 16, 11, 6)


def test_half_the_width_keeps_the_first_half_of_every_gate() -> None:
    """The declared segments cut each projection where the gates of the narrow module lie in those of the wide one."""
    wide, narrow = built(RecursiveGatedConv(order=3), 16), built(RecursiveGatedConv(order=3), 8)
    assert narrow.fused_outputs == wide.fused_outputs
    rows = torch.arange(32).reshape(wide.fused_outputs["project_in"], -1)[:, :2].flatten()
    bounds = [0, 4, 8, 16, 32]
    kept = [int(((rows >= low) & (rows < high)).sum()) for low, high in itertools.pairwise(bounds)]
    assert kept == [narrow.widths[0], *narrow.widths]


def test_a_width_that_cannot_be_halved_is_refused_with_what_fits() -> None:
    with pytest.raises(ShapeError, match="use an order of 1, 2 or 3"):
        RecursiveGatedConv(order=5).output(Feature(12, (4, 4)))
    with pytest.raises(ShapeError, match="use an order of 1 or 2"):
        RecursiveGatedConv(order=5, filter="global_local").output(Feature(12, (4, 4)))

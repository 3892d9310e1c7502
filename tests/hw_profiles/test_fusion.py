"""Fusion: the tiled block computes the same, and the bytes are those that a person, or the execution itself, counts."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from archfront.hw_profiles.cost import cost, count
from archfront.hw_profiles.fusion import (
    FUSIONS,
    FusionError,
    halo_bytes,
    lower_bound,
    module_kernels,
    network_kernels,
    run_tiled,
    tiled_kernel,
)
from archfront.hw_profiles.peaks import Peaks
from archfront.hw_profiles.roofline import waterline
from archfront.space.architecture import Architecture
from archfront.space.library.block.conv_first import ConvFirst, ConvFirstBlock
from archfront.space.library.block.mbconv import MBConv
from archfront.space.library.gate.squeeze_excite import SqueezeExcite
from archfront.space.library.head.classifier import Classifier
from archfront.space.library.stem.convolution import ConvStem
from archfront.space.network import Network, Stage
from archfront.space.types import Feature, Image

torch.set_num_threads(1)

PEAKS = Peaks(flops_per_s=100e9, bytes_per_s=10e9, cache_bytes_per_s=50e9, cache_bytes=1 << 20)
X = Image(16, 13, 9)


def block(spec: ConvFirst, x: Feature = X) -> ConvFirstBlock:
    """The block in evaluation mode with statistics and weights that a training could have left."""
    torch.manual_seed(0)
    built = spec.build(x)
    assert isinstance(built, ConvFirstBlock)
    for module in built.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight, module.running_var):
                tensor.data.uniform_(0.5, 1.5)
            for tensor in (module.bias, module.running_mean):
                tensor.data.normal_()
    return built.eval()


@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(("tile", "chunk"), [(4, 16), (8, 64), (5, 7)])
def test_the_tiled_block_equals_the_block_layer_by_layer(kernel: int, stride: int, tile: int, chunk: int) -> None:
    built = block(ConvFirst(kernel=kernel, stride=stride, width=16 if stride == 1 else 24))
    x = torch.randn(2, 16, 13, 9)
    with torch.no_grad():
        expected = built(x)
        found = run_tiled(built, x, tile, chunk).output
    assert (found - expected).abs().max() <= 1e-5 * max(1.0, float(expected.abs().max()))


@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("tile", [4, 8, 16])
def test_predicted_bytes_are_those_that_the_execution_counts(kernel: int, stride: int, tile: int) -> None:
    spec = ConvFirst(kernel=kernel, stride=stride, width=24)
    with torch.no_grad():
        run = run_tiled(block(spec), torch.randn(3, 16, 13, 9), tile)
    given, made = 4 * 16 * 13 * 9, 4 * 24 * -(-13 // stride) * -(-9 // stride)
    assert run.read == 3 * (given + halo_bytes(spec, X, tile))
    assert run.written == 3 * made
    predicted = tiled_kernel(spec, X, tile, batch=3)
    assert predicted.activation_bytes == run.read + run.written
    assert predicted.weight_bytes == run.weights


def test_one_tile_has_no_halo_and_smaller_ones_more() -> None:
    spec = ConvFirst(kernel=3)
    halos = [halo_bytes(spec, X, tile) for tile in (16, 8, 4)]
    assert halos[0] == 0
    assert halos == sorted(halos)
    # tiles of 8: rows 0-8, 7-12 read 15 of 13; columns 0-8, 7-8 read 11 of 9
    assert halos[1] == 4 * 16 * (15 * 11 - 13 * 9)


def test_the_workspace_is_far_smaller_than_the_hidden_map() -> None:
    spec, x = ConvFirst(kernel=3, expand=6.0), Image(32, 32, 32)
    with torch.no_grad():
        run = run_tiled(block(spec, x), torch.randn(1, 32, 32, 32), tile=8, chunk=16)
    assert run.workspace == 4 * 64 * (32 + 16 + 32)
    assert run.workspace * 10 < 4 * 6 * 32 * 32 * 32


def test_the_bytes_of_separate_layers_are_those_that_a_person_counts() -> None:
    """x: 16, hidden: 64, y: 16 channels of 8x8; normalisations read four numbers a channel."""
    kernels = module_kernels(block(ConvFirst(kernel=3), Image(16, 8, 8)), Image(16, 8, 8))
    narrow, wide = 4 * 16 * 64, 4 * 64 * 64
    assert [k.operator for k in kernels] == ["convolution", "batch_norm"] * 2 + [
        "silu",
        "convolution",
        "batch_norm",
        "add",
    ]
    assert [k.activation_bytes for k in kernels] == [
        2 * narrow, 2 * narrow, narrow + wide, 2 * wide, 2 * wide, wide + narrow, 2 * narrow, 3 * narrow,
    ]  # fmt: skip
    assert [k.weight_bytes for k in kernels] == [4 * n for n in (16 * 8 * 9, 64, 16 * 64, 256, 0, 64 * 16, 64, 0)]


def test_fused_layers_keep_normalisation_activation_and_sum_inside() -> None:
    kernels = module_kernels(block(ConvFirst(kernel=3), Image(16, 8, 8)), Image(16, 8, 8), "pointwise")
    narrow, wide = 4 * 16 * 64, 4 * 64 * 64
    assert [k.activation_bytes for k in kernels] == [2 * narrow, narrow + wide, wide + 2 * narrow]


def test_a_fused_block_moves_its_input_its_output_and_its_weights() -> None:
    built = block(ConvFirst(kernel=3, width=24))
    (whole,) = module_kernels(built, X, "block")
    tensors = [t for t in (*built.parameters(), *built.buffers()) if t.is_floating_point()]
    assert whole.activation_bytes == 4 * 13 * 9 * (16 + 24)
    assert whole.weight_bytes == 4 * sum(t.numel() for t in tensors)
    assert whole.flops == 2 * count(built, X).contractions


ARCHITECTURE = Architecture(
    input=Image(3, 32, 32),
    network=Network(
        stem=ConvStem(width=16),
        stages=(
            Stage(width=16, depth=2, stride=1, block=ConvFirst()),
            Stage(width=24, depth=2, stride=2, block=MBConv(expand=3, gate=SqueezeExcite())),
        ),
        head=Classifier(classes=10),
    ),
)


def test_fusing_moves_fewer_bytes_and_computes_the_same() -> None:
    sequences = [network_kernels(ARCHITECTURE, fusion) for fusion in FUSIONS]
    assert {sum(k.flops for k in kernels) for kernels in sequences} == {2 * cost(ARCHITECTURE).contractions}
    moved = [sum(k.bytes for k in kernels) for kernels in sequences]
    assert moved[0] > moved[1] > moved[2]
    bounds = [lower_bound(ARCHITECTURE, PEAKS, fusion) for fusion in FUSIONS]
    assert bounds[0].value > bounds[1].value > bounds[2].value
    assert {bound.provenance for bound in bounds} == {"modelled"}


def test_a_lower_bound_is_the_area_of_the_waterline_chart() -> None:
    kernels = network_kernels(ARCHITECTURE, "pointwise")
    assert lower_bound(ARCHITECTURE, PEAKS).value == pytest.approx(
        1e3 * waterline(kernels, PEAKS).area / PEAKS.flops_per_s
    )


def test_a_larger_batch_moves_weights_once() -> None:
    one, many = (module_kernels(nn.Linear(256, 256), Feature(256, ()), batch=b)[0] for b in (1, 64))
    assert many.weight_bytes == one.weight_bytes
    assert many.activation_bytes == 64 * one.activation_bytes
    assert many.intensity > 30 * one.intensity


def test_depthwise_layers_lie_far_below_the_waterline() -> None:
    (depthwise,) = module_kernels(nn.Conv2d(64, 64, 3, padding=1, groups=64, bias=False), Image(64, 28, 28))
    (dense,) = module_kernels(nn.Conv2d(64, 64, 3, padding=1, bias=False), Image(64, 28, 28))
    assert depthwise.intensity < 0.25 * PEAKS.balance < PEAKS.balance < dense.intensity


def test_views_are_read_where_they_lie() -> None:
    class Halves(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            first, second = x.chunk(2, 1)
            return (first * second).flatten(1).exp()

    product, exp = module_kernels(Halves(), Image(16, 4, 4))
    assert product.activation_bytes == 4 * (16 + 8) * 16
    assert exp.activation_bytes == 2 * 4 * 8 * 16


def test_a_gate_keeps_a_block_from_running_as_one_kernel() -> None:
    spec = ConvFirst(gate=SqueezeExcite())
    with pytest.raises(FusionError, match="gate"):
        run_tiled(block(spec), torch.randn(1, 16, 13, 9))
    with pytest.raises(FusionError, match="gate"):
        tiled_kernel(spec, X, 8)

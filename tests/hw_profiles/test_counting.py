"""Counts of single modules against formulas worked out by hand, and against other counters where these are right."""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archfront.hw_profiles.cost import CostError, count, register_cost
from archfront.hw_profiles.operators import FREE_OPERATORS, handles
from archfront.space.types import FeatureType, Image, Tokens

torch.set_num_threads(1)


class Do(nn.Module):
    """A module that calls a function."""

    def __init__(self, function: Callable[..., object]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: Tensor) -> object:
        return self.function(*inputs)


def macs(function: Callable[..., object], x: FeatureType) -> int:
    return count(Do(function), x).macs


# ------------------------------------------------------------------ convolutions and products


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (nn.Conv2d(6, 8, 3, padding=1), 8 * 6 * 9 * 10 * 14),
        (nn.Conv2d(6, 8, 3, padding="same", bias=False), 8 * 6 * 9 * 10 * 14),
        (nn.Conv2d(6, 6, 5, padding=2, groups=6), 6 * 25 * 10 * 14),
        (nn.Conv2d(6, 12, 3, stride=2, padding=1, groups=3, dilation=1), 12 * 2 * 9 * 5 * 7),
        (nn.ConvTranspose2d(6, 4, 2, stride=2), 6 * 4 * 4 * 10 * 14),
    ],
)
def test_a_convolution_costs_its_kernel_at_every_output_position(layer: nn.Module, expected: int) -> None:
    found = count(layer, Image(6, 10, 14))
    assert found.macs == found.contractions == expected
    assert found.activations == layer(torch.zeros(1, 6, 10, 14)).numel()
    assert found.params == sum(p.numel() for p in layer.parameters())


def test_a_linear_layer_costs_in_times_out_at_every_token() -> None:
    found = count(nn.Linear(64, 10), Tokens(49, 64))
    assert (found.macs, found.activations, found.params) == (49 * 64 * 10, 490, 650)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda x: x @ x.transpose(1, 2), 12 * 12 * 8),
        (lambda x: x.unsqueeze(1) @ torch.zeros(3, 8, 5), 12 * 8 * 3 * 5),  # one operand broadcast over the batch
        (lambda x: torch.zeros(3, 7, 12) @ x, 3 * 7 * 12 * 8),
        (lambda x: torch.einsum("nld,nmd->nlm", x, x), 12 * 12 * 8),
        (lambda x: torch.einsum("nld,dhe->nlhe", x, torch.zeros(8, 3, 5)), 12 * 8 * 15),
        (lambda x: torch.einsum("nld,d->nld", x, torch.ones(8)), 0),  # an elementwise product
        (lambda x: torch.tensordot(x, torch.zeros(8, 5), dims=1), 12 * 8 * 5),
        (lambda x: torch.baddbmm(torch.zeros(1, 12, 12), x, x.transpose(1, 2)), 12 * 12 * 8),
        (lambda x: torch.addbmm(torch.zeros(12, 12), x, x.transpose(1, 2)), 12 * 12 * 8),
        (lambda x: torch.mv(x[0], torch.zeros(8)), 12 * 8),
        (lambda x: torch.dot(x[0, 0], x[0, 1]), 8),
        (lambda x: F.bilinear(x, x, torch.zeros(5, 8, 8)), 12 * 5 * 64),
        (lambda x: torch.cdist(x, x), 12 * 12 * 8),
    ],
)
def test_a_product_costs_one_for_every_term(function: Callable[[Tensor], Tensor], expected: int) -> None:
    assert macs(function, Tokens(12, 8)) == expected


def test_a_three_operand_einsum_costs_the_path_that_torch_takes() -> None:
    found = count(Do(lambda x: torch.einsum("nld,de,ef->nlf", x, torch.zeros(8, 6), torch.zeros(6, 4))), Tokens(12, 8))
    left_to_right, right_first = 12 * 8 * 6 + 12 * 6 * 4, 8 * 6 * 4 + 12 * 8 * 4
    assert found.contractions in (left_to_right, right_first)


def test_big_einsums_are_not_rounded() -> None:
    found = count(Do(lambda x: torch.einsum("nld,de->nle", x, torch.zeros(127, 131))), Tokens(1009, 127))
    assert found.macs == 1009 * 127 * 131


def test_recurrent_layers_cost_their_gates_at_every_step() -> None:
    steps, width, hidden = 5, 4, 8
    for layer, gates in ((nn.LSTM, 4), (nn.GRU, 3), (nn.RNN, 1)):
        module = layer(width, hidden, num_layers=2, batch_first=True)
        expected = steps * gates * (hidden * width + hidden * hidden + 2 * hidden * hidden)
        assert count(module, Tokens(steps, width)).contractions == expected


# ------------------------------------------------------------------ attention


class Attention(nn.Module):
    """Multi-head self-attention, fused or written out."""

    def __init__(self, width: int, heads: int, fused: bool) -> None:
        super().__init__()
        self.heads, self.fused = heads, fused
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        n, length, width = x.shape
        q, k, v = self.qkv(x).reshape(n, length, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        y = F.scaled_dot_product_attention(q, k, v) if self.fused else (q @ k.transpose(-1, -2)).softmax(-1) @ v
        return self.out(y.transpose(1, 2).reshape(n, length, width))


def attention_macs(length: int, width: int) -> int:
    return 4 * length * width * width + 2 * length * length * width


@pytest.mark.parametrize("fused", [True, False])
def test_attention_costs_four_projections_and_two_products(fused: bool) -> None:
    assert count(Attention(64, 4, fused), Tokens(49, 64)).contractions == attention_macs(49, 64)


def test_fused_attention_costs_what_it_does_written_out() -> None:
    assert count(Attention(64, 4, True), Tokens(49, 64)) == count(Attention(64, 4, False), Tokens(49, 64))


def test_cross_attention_costs_queries_times_keys_times_both_widths() -> None:
    q, k, v = torch.zeros(2, 3, 5, 8), torch.zeros(2, 3, 7, 8), torch.zeros(2, 3, 7, 11)
    assert macs(lambda x: F.scaled_dot_product_attention(q + x.mean(), k, v), Tokens(2, 2)) == 4 + 2 * 3 * 5 * 7 * 19


@pytest.mark.parametrize("need_weights", [True, False])
def test_multihead_attention_is_counted_though_torch_would_fuse_it(need_weights: bool) -> None:
    module = nn.MultiheadAttention(64, 4, batch_first=True)
    wrapped = Do(lambda x: module(x, x, x, need_weights=need_weights)[0])
    wrapped.attention = module
    assert count(wrapped, Tokens(49, 64)).contractions == attention_macs(49, 64)


def test_an_encoder_layer_is_counted_though_torch_would_fuse_it() -> None:
    layer = nn.TransformerEncoderLayer(64, 4, dim_feedforward=128, batch_first=True)
    assert count(layer, Tokens(49, 64)).contractions == attention_macs(49, 64) + 2 * 49 * 64 * 128


class ViT(nn.Module):
    """ViT-Ti/16 for 224 x 224 (Touvron et al., 2021, Training data-efficient image transformers)."""

    class Layer(nn.Module):
        def __init__(self, width: int, heads: int) -> None:
            super().__init__()
            self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
            self.attention = Attention(width, heads, True)
            self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

        def forward(self, x: Tensor) -> Tensor:
            x = x + self.attention(self.norm1(x))
            return x + self.mlp(self.norm2(x))

    def __init__(self, width: int = 192, heads: int = 3, depth: int = 12) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, width, 16, 16)
        self.token = nn.Parameter(torch.zeros(1, 1, width))
        self.position = nn.Parameter(torch.zeros(1, 197, width))
        self.layers = nn.Sequential(*(self.Layer(width, heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 1000)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.cat([self.token, self.patch(x).flatten(2).transpose(1, 2)], 1) + self.position
        return self.head(self.norm(self.layers(x))[:, 0])


def test_vit_tiny_has_its_published_size_and_1_2537_g_contractions() -> None:
    found = count(ViT(), Image(3, 224, 224))
    length, width = 197, 192
    layer = attention_macs(length, width) + 8 * length * width * width
    assert found.contractions == 196 * 768 * width + 12 * layer + width * 1000
    assert round(found.contractions / 1e9, 4) == 1.2537
    assert found.params == 5_717_416  # DeiT-Ti: 5.7 M
    assert found.macs == found.contractions + 25 * 5 * length * width  # and 25 layer norms


# ------------------------------------------------------------------ everything else


@pytest.mark.parametrize(
    ("layer", "each"),
    [
        (nn.BatchNorm2d(6), 2),
        (nn.BatchNorm2d(6, affine=False), 1),
        (nn.GroupNorm(3, 6), 5),
        (nn.InstanceNorm2d(6), 4),
        (nn.LayerNorm((6, 4, 8)), 5),
        (nn.LayerNorm((6, 4, 8), elementwise_affine=False), 4),
        (nn.RMSNorm((6, 4, 8)), 5),
        (nn.Upsample(scale_factor=1, mode="nearest"), 1),
        (nn.Upsample(scale_factor=1, mode="bilinear"), 4),
        (nn.Upsample(scale_factor=1, mode="bicubic"), 16),
        (nn.ReLU(), 0),
        (nn.GELU(), 0),
        (nn.Softmax(1), 0),
        (nn.MaxPool2d(3, 1, 1), 0),
        (nn.PixelUnshuffle(2), 0),
        (nn.Dropout(), 0),
        (nn.Identity(), 0),
    ],
)
def test_a_layer_costs_its_convention_at_every_element(layer: nn.Module, each: int) -> None:
    found = count(layer, Image(6, 4, 8))
    assert (found.macs, found.contractions, found.activations) == (each * 6 * 4 * 8, 0, 0)


def test_norms_take_any_number_of_dimensions() -> None:
    norm = nn.LayerNorm(4)
    module = Do(lambda x: norm(x.reshape(1, 2, 3, 2, 2, 2, 4)))
    module.norm = norm
    assert count(module, Image(6, 4, 8)).macs == 5 * 6 * 4 * 8


def test_all_spellings_of_an_average_cost_one_for_every_element() -> None:
    x = Image(6, 4, 8)
    spellings: list[Callable[[Tensor], Tensor]] = [
        lambda x: x.mean((2, 3)),
        lambda x: x.sum((2, 3)) / 32,
        lambda x: F.adaptive_avg_pool2d(x, 1),
        lambda x: F.avg_pool2d(x, (4, 8)),
        lambda x: F.avg_pool2d(x, x.shape[-2:]),
        lambda x: F.avg_pool2d(x, 2),
    ]
    assert [macs(spelling, x) for spelling in spellings] == [6 * 4 * 8] * len(spellings)


def test_a_weighted_sum_costs_the_same_as_product_and_sum_and_as_einsum() -> None:
    def windows(x: Tensor) -> Tensor:
        return F.unfold(x, 3, padding=1).unflatten(1, (6, 9))  # n c k l

    weights = torch.zeros(1, 9, 32)
    written = macs(lambda x: (windows(x) * weights.unsqueeze(1)).sum(2), Image(6, 4, 8))
    einsum = macs(lambda x: torch.einsum("nckl,nkl->ncl", windows(x), weights), Image(6, 4, 8))
    assert written == einsum == 6 * 9 * 32


@pytest.mark.parametrize(("mode", "reads"), [("bilinear", 4), ("nearest", 1), ("bicubic", 16)])
def test_sampling_a_grid_costs_one_for_every_element_read(mode: str, reads: int) -> None:
    grid = torch.zeros(1, 3, 5, 2)
    assert macs(lambda x: F.grid_sample(x, grid, mode=mode, align_corners=False), Image(6, 4, 8)) == reads * 6 * 15


def test_fourier_transforms_follow_the_documented_model() -> None:
    x = Image(6, 7, 8)
    points = 7 * 8
    real = 6 * math.ceil(1.25 * points * math.log2(points))
    full = 6 * math.ceil(2.5 * points * math.log2(points))
    assert macs(torch.fft.rfft2, x) == real
    assert macs(lambda x: torch.fft.rfft2(x, s=(7, 8), dim=(2, 3), norm="ortho"), x) == real
    assert macs(torch.fft.fft2, x) == full
    assert macs(lambda x: torch.fft.irfft2(torch.fft.rfft2(x), s=x.shape[-2:]), x) == 2 * real
    assert macs(torch.fft.rfft, x) == 6 * 7 * math.ceil(1.25 * 8 * 3)
    assert macs(lambda x: torch.fft.rfft(x, 16), x) == 6 * 7 * math.ceil(1.25 * 16 * 4)
    assert macs(torch.fft.rfftn, x) == math.ceil(1.25 * 6 * points * math.log2(6 * points))


# ------------------------------------------------------------------ agreement with fvcore


def test_counts_are_fvcores_own_where_fvcore_knows_every_operator() -> None:
    from fvcore.nn import ActivationCountAnalysis, FlopCountAnalysis

    net = nn.Sequential(
        nn.Conv2d(3, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 16, 5, padding=2, groups=16),
        nn.GroupNorm(2, 16), nn.Upsample(scale_factor=2, mode="bilinear"), nn.ConvTranspose2d(16, 8, 2, 2),
        nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 10), nn.LayerNorm(10),
    ).eval()  # fmt: skip
    inputs = torch.zeros(1, 3, 16, 16)
    found = count(net, Image(3, 16, 16))
    flops, activations = FlopCountAnalysis(net, inputs), ActivationCountAnalysis(net, inputs)
    assert found.macs == flops.total()
    assert found.activations == activations.unsupported_ops_warnings(False).total()
    assert not flops.unsupported_ops()


# ------------------------------------------------------------------ the policy


def test_the_free_operators_exist_and_have_no_other_cost() -> None:
    names = {name.removeprefix("aten::") for name in FREE_OPERATORS}
    known = {schema.name.removeprefix("aten::") for schema in torch._C._jit_get_all_schemas()}
    assert {name for name in names if not name.endswith("_")} <= known
    assert not FREE_OPERATORS & set(handles())


def test_every_operator_with_a_cost_exists() -> None:
    assert {schema.name for schema in torch._C._jit_get_all_schemas()} >= set(handles())


@torch.library.custom_op("archfront_test::mystery", mutates_args=())
def mystery(x: Tensor) -> Tensor:
    return x @ x.transpose(-1, -2)


class Mystery(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return mystery(x)


def test_an_unknown_operator_is_an_error_that_names_it_and_its_module_until_it_is_registered() -> None:
    net = nn.Sequential(nn.Linear(4, 4), Mystery())
    with pytest.raises(CostError, match=r"archfront_test::mystery.* 1 time.*Sequential: 1 \(Mystery\).*register_cost"):
        count(net, Tokens(6, 4))
    register_cost("archfront_test::mystery", lambda inputs, outputs: math.prod(outputs[0]) * inputs[0][-1])
    found = count(net, Tokens(6, 4))
    assert (found.macs, found.contractions) == (6 * 16 + 6 * 6 * 4, 6 * 16)
    register_cost("archfront_test::mystery", lambda inputs, outputs: 7, contraction=True)
    found = count(net, Tokens(6, 4))
    assert (found.macs, found.contractions, found.activations) == (6 * 16 + 7, 6 * 16 + 7, 24 + 36)


class Square(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return x @ x.transpose(-1, -2)


def test_an_unknown_autograd_function_is_an_error_until_it_is_registered() -> None:
    with pytest.raises(CostError, match=r"prim::PythonOp\.Square"):
        count(Do(Square.apply), Tokens(6, 4))
    register_cost("prim::PythonOp.Square", lambda inputs, outputs: math.prod(outputs[0]) * inputs[0][-1])
    assert macs(Square.apply, Tokens(6, 4)) == 6 * 6 * 4


def product(x: Tensor) -> Tensor:
    return x @ x.transpose(-1, -2)


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (lambda x: torch.jit.script(product)(x), "prim::CallFunction"),
        (lambda x: torch.linalg.svdvals(x), "aten::linalg_svdvals"),
        (lambda x: torch.linalg.qr(x)[0], "aten::linalg_qr"),
        (lambda x: torch.special.bessel_j0(x), "aten::special_bessel_j0"),
    ],
)
def test_what_has_no_cost_is_never_a_silent_zero(function: Callable[[Tensor], Tensor], name: str) -> None:
    with pytest.raises(CostError, match=name):
        count(Do(function), Tokens(6, 4))


def test_weights_that_are_never_used_are_an_error_that_lists_them() -> None:
    class Dead(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.dead = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            return F.linear(x, self.used.weight) + self.used.bias

    with pytest.raises(CostError, match=r"never uses: dead\.weight, dead\.bias"):
        count(Dead(), Tokens(6, 4))


def test_tied_weights_are_counted_once() -> None:
    first, second = nn.Linear(4, 4), nn.Linear(4, 4)
    second.weight = first.weight
    assert count(nn.Sequential(first, second), Tokens(6, 4)).params == 16 + 4 + 4


def test_counting_leaves_no_trace(caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]) -> None:
    net = nn.Sequential(nn.Linear(4, 4), nn.Dropout(), nn.GELU())
    net[1].eval()
    filters, level = warnings.filters[:], logging.getLogger("fvcore").level
    random_state, fused = torch.get_rng_state(), torch.backends.mha.get_fastpath_enabled()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        count(net, Tokens(6, 4))
    assert [module.training for module in net.modules()] == [True, True, False, True]
    assert not net._forward_hooks and not net[0]._forward_hooks
    assert (warnings.filters, logging.getLogger("fvcore").level) == (filters, level)
    assert torch.equal(torch.get_rng_state(), random_state)
    assert torch.backends.mha.get_fastpath_enabled() == fused
    assert not caplog.records and capsys.readouterr() == ("", "")

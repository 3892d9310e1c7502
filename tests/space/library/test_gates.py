"""Gates against their formulas."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from archfront.space.library.block.bottleneck import Bottleneck
from archfront.space.library.gate.cbam import CBAM
from archfront.space.library.gate.eca import ECA
from archfront.space.library.gate.squeeze_excite import SqueezeExcite
from archfront.space.references.resnet import residual_network
from archfront.space.types import Feature, Image

X = Feature(32, (7, 5))


@pytest.fixture
def x() -> Tensor:
    torch.manual_seed(0)
    return torch.randn(2, 32, 7, 5, dtype=torch.float64)


def built(gate: SqueezeExcite | CBAM | ECA) -> nn.Module:
    torch.manual_seed(1)
    return gate.build(X).double().eval()


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_squeeze_excite_follows_its_formula(x: Tensor) -> None:
    gate = built(SqueezeExcite(ratio=0.25, activation="silu", gate="hardsigmoid"))
    p = dict(gate.named_parameters())
    z = x.sum((2, 3)) / 35
    h = z @ p["reduce.weight"].T + p["reduce.bias"]
    s = (h / (1 + torch.exp(-h))) @ p["expand.weight"].T + p["expand.bias"]
    s = ((s + 3) / 6).clamp(0, 1)
    torch.testing.assert_close(gate(x), x * s[:, :, None, None])


def test_squeeze_excite_can_squeeze_by_maximum_and_by_both(x: Tensor) -> None:
    summaries = {
        "average": x.flatten(2).mean(-1),
        "max": x.flatten(2).max(-1).values,
        "average+max": x.flatten(2).mean(-1) + x.flatten(2).max(-1).values,
    }
    for squeeze, z in summaries.items():
        gate = built(SqueezeExcite(squeeze=squeeze))
        s = torch.sigmoid(gate.expand(torch.relu(gate.reduce(z))))
        torch.testing.assert_close(gate(x), x * s[:, :, None, None])


def test_squeeze_excite_is_the_identity_when_its_weights_saturate_and_halves_when_they_are_zero(x: Tensor) -> None:
    gate = built(SqueezeExcite())
    nn.init.zeros_(gate.expand.weight)
    nn.init.constant_(gate.expand.bias, 20.0)
    torch.testing.assert_close(gate(x), x, atol=1e-6, rtol=0)
    nn.init.zeros_(gate.expand.bias)
    torch.testing.assert_close(gate(x), x / 2)


@pytest.mark.parametrize("gate", [SqueezeExcite(), ECA(), CBAM(kernel=None)])
def test_channel_gates_commute_with_any_permutation_of_positions(x: Tensor, gate: SqueezeExcite) -> None:
    module, order = built(gate), torch.randperm(35)
    permute = lambda t: t.flatten(2)[:, :, order].unflatten(2, (7, 5))  # noqa: E731
    torch.testing.assert_close(module(permute(x)), permute(module(x)))


@pytest.mark.parametrize(("ratio", "divisor", "hidden"), [(0.25, 1, 8), (1 / 24, 1, 1), (0.4, 8, 16), (0.01, 8, 8)])
def test_squeeze_excite_counts_and_rounding(ratio: float, divisor: int, hidden: int) -> None:
    module = SqueezeExcite(ratio=ratio, divisor=divisor).build(X)
    assert parameters(module) == 2 * 32 * hidden + hidden + 32
    with FlopCounterMode(display=False) as counter:
        module(*X.example())
    assert counter.get_total_flops() == 2 * (2 * 32 * hidden)


@pytest.mark.parametrize("gate", [SqueezeExcite(), ECA()])
def test_squeeze_excite_and_eca_take_sequences_and_volumes(gate: SqueezeExcite) -> None:
    for size in [(9,), (3, 4, 5)]:
        (x,) = Feature(32, size).example(2)
        y = gate.build(Feature(32, size))(x)
        assert y.shape == x.shape
        ratio = (y / x).flatten(2)
        torch.testing.assert_close(ratio, ratio[:, :, :1].expand_as(ratio))


@pytest.mark.parametrize(("channels", "kernel"), [(16, 3), (64, 3), (128, 5), (256, 5), (512, 5), (1024, 5), (4096, 7)])
def test_eca_kernel_grows_with_the_channels_as_published(channels: int, kernel: int) -> None:
    assert ECA().build(Feature(channels, (2, 2))).conv.kernel_size == (kernel,)
    assert ECA(kernel=9).build(Feature(channels, (2, 2))).conv.kernel_size == (9,)


def test_eca_weighs_a_channel_by_its_neighbours(x: Tensor) -> None:
    gate = built(ECA(kernel=5))
    k, z = gate.conv.weight.flatten(), x.flatten(2).mean(-1)
    expected = torch.empty_like(x)
    for c in range(32):
        score = sum(k[i] * z[:, c + i - 2] for i in range(5) if 0 <= c + i - 2 < 32)
        expected[:, c] = x[:, c] * torch.sigmoid(score)[:, None, None]
    torch.testing.assert_close(gate(x), expected)


def test_cbam_follows_its_formula_in_every_order(x: Tensor) -> None:
    def channel(gate: nn.Module, x: Tensor) -> Tensor:
        p = dict(gate.channel.named_parameters())
        mlp = lambda z: F.relu(z @ p["reduce.weight"].T + p["reduce.bias"]) @ p["expand.weight"].T + p["expand.bias"]  # noqa: E731
        return torch.sigmoid(mlp(x.flatten(2).mean(-1)) + mlp(x.flatten(2).max(-1).values))[:, :, None, None]

    def spatial(gate: nn.Module, x: Tensor) -> Tensor:
        s = torch.stack((x.max(1).values, x.mean(1)), 1)
        norm = gate.spatial.norm
        y = F.conv2d(s, gate.spatial.conv.weight, padding=2)
        y = (y - norm.running_mean) / (norm.running_var + norm.eps).sqrt() * norm.weight + norm.bias
        return torch.sigmoid(y)

    orders = ("channel-spatial", "spatial-channel", "parallel")
    a, b, c = (built(CBAM(ratio=0.25, kernel=5, order=order)) for order in orders)
    for gate in (a, b, c):
        gate.spatial.norm.running_mean.fill_(0.3)
        nn.init.constant_(gate.spatial.norm.bias, -0.2)
    first = x * channel(a, x)
    torch.testing.assert_close(a(x), first * spatial(a, first))
    first = x * spatial(b, x)
    torch.testing.assert_close(b(x), first * channel(b, first))
    torch.testing.assert_close(c(x), x * channel(c, x) * spatial(c, x))


def test_cbam_with_zero_weights_quarters_its_input(x: Tensor) -> None:
    gate = built(CBAM())
    for weight in (*gate.channel.parameters(), gate.spatial.conv.weight):
        nn.init.zeros_(weight)
    torch.testing.assert_close(gate(x), x / 4)


def test_the_spatial_weights_of_cbam_ignore_the_order_of_channels(x: Tensor) -> None:
    spatial = built(CBAM()).spatial
    torch.testing.assert_close(spatial(x[:, torch.randperm(32)]), spatial(x))


@pytest.mark.parametrize(("ratio", "kernel"), [(0.25, 3), (0.5, 7)])
def test_cbam_counts(ratio: float, kernel: int) -> None:
    hidden = int(32 * ratio)
    assert parameters(CBAM(ratio=ratio, kernel=kernel).build(X)) == 2 * 32 * hidden + hidden + 32 + 2 * kernel**2 + 2


def test_resnet50_with_cbam_has_the_published_number_of_parameters() -> None:
    network = residual_network(Bottleneck(gate=CBAM()), (3, 4, 6, 3), 256, 1000)
    with torch.device("meta"):
        assert parameters(network.build(Image(3, 224, 224))) == pytest.approx(28.09e6, rel=1e-3)

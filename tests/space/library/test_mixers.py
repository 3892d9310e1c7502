"""Mixers of positions and of channels against definitions by loops."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from archfront.space.errors import ShapeError
from archfront.space.library.channel_mixer.feed_forward import FeedForward
from archfront.space.library.channel_mixer.gated import GatedFeedForward
from archfront.space.library.mixer.average_pool import AveragePool
from archfront.space.library.mixer.identity import IdentityMixer
from archfront.space.library.mixer.large_kernel import LargeKernel
from archfront.space.library.mixer.self_attention import SelfAttention
from archfront.space.library.mixer.token_mlp import TokenMLP
from archfront.space.library.mixer.window_attention import WindowAttention
from archfront.space.spec import Spec
from archfront.space.types import Feature


def prepared(spec: Spec, size: tuple[int, int], channels: int = 8) -> tuple[nn.Module, Tensor]:
    """The module of `spec` in double precision, and an input for it."""
    torch.manual_seed(0)
    x = Feature(channels, size)
    return spec.build(x).double().eval(), x.example(2, dtype=torch.float64)[0]


def heads_of(module: nn.Module, x: Tensor) -> Tensor:
    """Queries, keys and values, (3, N, heads, positions, head_dim), by plain matrix products."""
    weight, bias = module.qkv.weight.flatten(1), module.qkv.bias
    projected = torch.einsum("oc,ncp->nop", weight, x.flatten(2)) + bias[:, None]
    n, _, positions = projected.shape
    return projected.reshape(n, 3, module.heads, -1, positions).permute(1, 0, 2, 4, 3)


def projected(module: nn.Module, mixed: Tensor, like: Tensor) -> Tensor:
    """(N, heads, positions, head_dim) through the output projection, laid out as a map."""
    joined = mixed.transpose(2, 3).flatten(1, 2)
    weight, bias = module.project.weight.flatten(1), module.project.bias
    return (torch.einsum("oc,ncp->nop", weight, joined) + bias[:, None]).reshape(like.shape)


@pytest.mark.parametrize("spec", [SelfAttention(head_dim=2), SelfAttention(heads=1)])
def test_self_attention_equals_explicit_softmax(spec: SelfAttention) -> None:
    module, x = prepared(spec, (4, 3))
    q, k, v = heads_of(module, x)
    scores = (q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])).exp()
    mixed = scores / scores.sum(-1, keepdim=True) @ v
    torch.testing.assert_close(module(x), projected(module, mixed, x))


def test_self_attention_commutes_with_permutations_of_positions() -> None:
    module, x = prepared(SelfAttention(head_dim=4), (4, 5))
    order = torch.randperm(20)
    permute = lambda t: t.flatten(2)[:, :, order].reshape(t.shape)  # noqa: E731
    torch.testing.assert_close(module(permute(x)), permute(module(x)))


@pytest.mark.parametrize(
    ("size", "window", "shift"),
    [
        ((8, 8), 4, False),
        ((8, 8), 4, True),
        ((6, 9), 3, True),
        ((7, 9), 4, False),
        ((7, 9), 4, True),
        ((5, 8), 5, True),
        ((3, 5), 7, True),
        ((1, 6), 2, True),
    ],
)
def test_window_attention_attends_to_the_positions_between_the_window_borders(
    size: tuple[int, int], window: int, shift: bool
) -> None:
    """Windows are the cells of a grid of lines `window` apart, the first one moved by half a window if shifted."""
    module, x = prepared(WindowAttention(window=window, shift=shift, head_dim=4), size)
    window = min(window, max(size))
    down, right = (window // 2 if shift and n > window else 0 for n in size)
    q, k, v = heads_of(module, x)
    mixed = torch.zeros_like(q)
    places = [(row, column) for row in range(size[0]) for column in range(size[1])]
    cell = [((row - down) // window, (column - right) // window) for row, column in places]
    for i, (row, column) in enumerate(places):
        inside = [j for j in range(len(places)) if cell[j] == cell[i]]
        bias = torch.stack(
            [module.bias[:, 0, places[j][0] - row + window - 1, places[j][1] - column + window - 1] for j in inside], -1
        )
        scores = torch.einsum("nhd,nhjd->nhj", q[:, :, i], k[:, :, inside]) / math.sqrt(q.shape[-1]) + bias
        mixed[:, :, i] = torch.einsum("nhj,nhjd->nhd", scores.softmax(-1), v[:, :, inside])
    torch.testing.assert_close(module(x), projected(module, mixed, x))


def test_one_window_without_bias_is_plain_self_attention() -> None:
    module, x = prepared(WindowAttention(window=6, head_dim=4), (6, 6))
    nn.init.zeros_(module.bias)
    plain = SelfAttention(head_dim=4).build(Feature(8, (6, 6))).double()
    plain.load_state_dict({name: value for name, value in module.state_dict().items() if name != "bias"})
    torch.testing.assert_close(module(x), plain(x))


@pytest.mark.parametrize("spec", [SelfAttention(head_dim=16), WindowAttention(heads=5)])
def test_attention_names_the_head_sizes_that_fit(spec: SelfAttention) -> None:
    with pytest.raises(ShapeError, match=r"24 channels; use (4, 6, 8, 12 or 24|1, 2, 3, 4, 6, 8, 12 or 24)$"):
        spec.output(Feature(24, (4, 4)))


@pytest.mark.parametrize("kernel", [3, 5])
def test_average_pool_is_the_mean_of_the_neighbours_inside_the_map_minus_the_position(kernel: int) -> None:
    module, x = prepared(AveragePool(kernel=kernel), (5, 4))
    reach = kernel // 2
    expected = torch.empty_like(x)
    for r in range(5):
        for c in range(4):
            near = x[:, :, max(0, r - reach) : r + reach + 1, max(0, c - reach) : c + reach + 1]
            expected[:, :, r, c] = near.flatten(2).mean(-1) - x[:, :, r, c]
    torch.testing.assert_close(module(x), expected)


def test_large_kernel_sums_shifted_channels_and_keeps_them_apart() -> None:
    module, x = prepared(LargeKernel(kernel=5), (4, 6), channels=3)
    padded = torch.zeros(2, 3, 8, 10, dtype=torch.float64)
    padded[:, :, 2:6, 2:8] = x
    expected = module.bias[:, None, None].expand_as(x).clone()
    for r in range(5):
        for c in range(5):
            expected = expected + module.weight[:, 0, r, c, None, None] * padded[:, :, r : r + 4, c : c + 6]
    torch.testing.assert_close(module(x), expected)


def test_token_mlp_is_one_perceptron_along_positions_for_all_channels() -> None:
    module, x = prepared(TokenMLP(expand=1.5, activation="relu"), (3, 4))
    w1, b1, w2, b2 = module.parameters()
    assert w1.shape == (18, 12)
    for channel in range(8):
        row = x[:, channel].flatten(1)
        expected = torch.relu(row @ w1.T + b1) @ w2.T + b2
        torch.testing.assert_close(module(x)[:, channel].flatten(1), expected)


def test_identity_mixer_changes_nothing() -> None:
    module, x = prepared(IdentityMixer(), (3, 4))
    assert module(x) is x


def test_feed_forward_is_one_perceptron_along_channels_for_all_positions() -> None:
    module, x = prepared(FeedForward(expand=2.5, activation="relu"), (3, 4))
    w1, b1, w2, b2 = (p.flatten(1) if p.ndim > 1 else p for p in module.parameters())
    assert w1.shape == (20, 8)
    for row in range(3):
        for column in range(4):
            expected = torch.relu(x[:, :, row, column] @ w1.T + b1) @ w2.T + b2
            torch.testing.assert_close(module(x)[:, :, row, column], expected)


def test_gated_feed_forward_multiplies_activated_gates_with_values() -> None:
    module, x = prepared(GatedFeedForward(expand=2), (3, 4))
    weight, bias, w2, b2 = (p.flatten(1) if p.ndim > 1 else p for p in module.parameters())
    w, v = weight.split(16)
    b, c = bias.split(16)
    for row in range(3):
        for column in range(4):
            position = x[:, :, row, column]
            gate = position @ w.T + b
            expected = (gate * torch.sigmoid(gate) * (position @ v.T + c)) @ w2.T + b2
            torch.testing.assert_close(module(x)[:, :, row, column], expected)


def test_two_thirds_of_the_expansion_make_a_gated_perceptron_cost_as_much_as_a_plain_one() -> None:
    x = Feature(96, (2, 2))
    plain, gated = (
        sum(p.numel() for p in spec.build(x).parameters() if p.ndim > 1)
        for spec in (FeedForward(expand=4), GatedFeedForward())
    )
    assert gated == plain == 8 * 96**2

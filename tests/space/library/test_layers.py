"""The small modules that blocks are made of."""

from __future__ import annotations

import torch

from archfront.space.library.layers import DropPath, LayerNorm2d, LayerScale, make_norm


def test_layer_norm_standardises_the_channels_of_every_position() -> None:
    torch.manual_seed(0)
    x = 3 + 2 * torch.randn(2, 6, 3, 4, dtype=torch.float64)
    norm = LayerNorm2d(6).double()
    torch.nn.init.uniform_(norm.weight)
    torch.nn.init.uniform_(norm.bias)
    mean = x.mean(1, keepdim=True)
    variance = (x - mean).square().mean(1, keepdim=True)
    expected = (x - mean) / (variance + 1e-6).sqrt() * norm.weight[:, None, None] + norm.bias[:, None, None]
    torch.testing.assert_close(norm(x), expected)


def test_group1_norm_standardises_the_whole_map() -> None:
    torch.manual_seed(0)
    x = 3 + 2 * torch.randn(2, 6, 3, 4, dtype=torch.float64)
    y = make_norm("group1", 6).double()(x).flatten(1)
    torch.testing.assert_close(y.mean(1), torch.zeros(2, dtype=torch.float64), atol=1e-10, rtol=0)
    torch.testing.assert_close(y.square().mean(1), torch.ones(2, dtype=torch.float64), atol=1e-4, rtol=0)


def test_layer_scale_multiplies_channels() -> None:
    x = torch.ones(2, 3, 2, 2)
    scale = LayerScale(3, 0.5)
    scale.scale.data = torch.tensor([1.0, 2.0, 3.0])
    torch.testing.assert_close(scale(x)[1, :, 0, 1], torch.tensor([1.0, 2.0, 3.0]))


def test_drop_path_drops_whole_samples_at_its_rate_and_keeps_the_mean() -> None:
    torch.manual_seed(0)
    x = torch.ones(4000, 2, 1, 3)
    drop = DropPath(0.25)
    factors = drop(x).flatten(1)
    assert set(factors.unique().tolist()) == {0.0, float(torch.tensor(1.0) / 0.75)}
    assert (factors == factors[:, :1]).all()
    assert abs(factors.mean() - 1) < 0.03
    assert drop.eval()(x) is x

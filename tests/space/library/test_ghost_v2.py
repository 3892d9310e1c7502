"""GhostNetV2: decoupled fully connected attention on ghost modules."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from archfront.space.errors import ShapeError
from archfront.space.library.block.ghost_bottleneck import GhostBottleneck
from archfront.space.library.block.ghost_bottleneck_v2 import DecoupledAttention, GhostBottleneckV2
from archfront.space.types import Feature


def reach(module: nn.Module, size: int = 40) -> int:
    """How far to either side one pixel of the input changes the output."""
    torch.manual_seed(0)
    x = torch.randn(1, 4, size, size, dtype=torch.float64)
    y = x.clone()
    y[0, :, size // 2, size // 2] += 1.0
    changed = (module(x) - module(y)).abs().sum((0, 1)).nonzero()
    return int((changed - size // 2).abs().max())


@pytest.mark.parametrize("size", [(8, 8), (7, 9)])
def test_the_attention_is_the_sequence_of_layers_in_the_paper(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    module = DecoupledAttention(3, 5).double().eval()
    x = torch.randn(2, 3, *size, dtype=torch.float64)
    tiles = x[:, :, : size[0] // 2 * 2, : size[1] // 2 * 2]
    pooled = tiles.unflatten(3, (-1, 2)).unflatten(2, (-1, 2)).mean((3, 5))
    y = torch.einsum("oc,nchw->nohw", module.mix.weight.flatten(1), pooled) / (1 + 1e-5) ** 0.5
    y = F.conv2d(y, module.rows.weight, padding=(0, 2), groups=5) / (1 + 1e-5) ** 0.5
    y = F.conv2d(y, module.columns.weight, padding=(2, 0), groups=5) / (1 + 1e-5) ** 0.5
    rows = torch.arange(size[0]) * pooled.shape[2] // size[0]
    columns = torch.arange(size[1]) * pooled.shape[3] // size[1]
    torch.testing.assert_close(module(x), y.sigmoid()[:, :, rows][:, :, :, columns])


def test_attention_reaches_farther_than_the_ghost_modules() -> None:
    x = Feature(4, (40, 40))
    torch.manual_seed(0)
    plain = GhostBottleneck().build(x).double().eval()
    attentive = GhostBottleneckV2().build(x).double().eval()
    # two ghost modules see one pixel each to either side; attention, on tiles of two, kernel // 2 tiles more
    assert reach(plain) == 2
    assert 2 * (5 // 2) < reach(attentive) <= 2 * (5 // 2) + 2 + 1


@pytest.mark.parametrize("attention", ["expand", "project", "both"])
def test_attention_of_one_everywhere_gives_the_plain_ghost_bottleneck(attention: Any) -> None:
    x = Feature(6, (6, 5))
    attentive = GhostBottleneckV2(attention=attention).build(x).eval()
    plain = GhostBottleneck().build(x).eval()
    plain.load_state_dict({k: v for k, v in attentive.state_dict().items() if "attention" not in k})
    for module in attentive.modules():
        if isinstance(module, DecoupledAttention):
            nn.init.constant_(module.norm3.bias, 50.0)
    (image,) = x.example(2)
    torch.testing.assert_close(attentive(image), plain(image))


def test_without_attention_it_is_the_ghost_bottleneck() -> None:
    x = Feature(6, (6, 5))
    count = lambda spec: sum(p.numel() for p in spec.build(x).parameters())  # noqa: E731
    assert count(GhostBottleneckV2(attention="none", width=8, stride=2)) == count(GhostBottleneck(width=8, stride=2))


def test_a_map_smaller_than_the_pooling_is_refused_with_what_would_work() -> None:
    with pytest.raises(ShapeError, match="use at most 1"):
        GhostBottleneckV2().output(Feature(8, (1, 3)))
    assert GhostBottleneckV2(attention_pool=1).output(Feature(8, (1, 3))) == Feature(8, (1, 3))

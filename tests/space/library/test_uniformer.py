"""UniFormer: local and global relation aggregation in one block."""

from __future__ import annotations

import torch
from torch import nn

from archfront.space.library.block.uniformer import UniFormer
from archfront.space.library.mixer.local_affinity import LocalAffinity
from archfront.space.library.mixer.self_attention import SelfAttention
from archfront.space.types import Feature

GLOBAL = SelfAttention(head_dim=4)


def test_the_local_aggregator_is_linear_up_to_its_bias() -> None:
    x = Feature(6, (7, 5))
    module = LocalAffinity().build(x).double()
    a, b = x.example(2, dtype=torch.float64)[0]
    origin = module(torch.zeros_like(a)[None])
    linear = lambda t: module(t[None]) - origin  # noqa: E731
    torch.testing.assert_close(linear(2 * a), 2 * linear(a))
    torch.testing.assert_close(linear(a + b), linear(a) + linear(b))


def test_a_global_block_commutes_with_permutations_of_positions_unless_a_convolution_tells_them_apart() -> None:
    x = Feature(8, (4, 5))
    torch.manual_seed(0)
    order = torch.randperm(20)
    permute = lambda t: t.flatten(2)[:, :, order].reshape(t.shape)  # noqa: E731
    (image,) = x.example(2, dtype=torch.float64)
    blind = UniFormer(mixer=GLOBAL, norm="layer", position_kernel=None).build(x).double().eval()
    torch.testing.assert_close(blind(permute(image)), permute(blind(image)))
    seeing = UniFormer(mixer=GLOBAL, norm="layer").build(x).double().eval()
    assert not torch.allclose(seeing(permute(image)), permute(seeing(image)))


def test_the_block_computes_the_three_sub_layers_in_the_order_of_the_paper() -> None:
    x = Feature(6, (5, 4))
    block = UniFormer().build(x).double().eval()
    (image,) = x.example(2, dtype=torch.float64)
    assert isinstance(block.norm1, nn.BatchNorm2d)
    y = image + nn.functional.conv2d(image, block.position.weight, block.position.bias, padding=1, groups=6)
    y = y + block.mixer(block.norm1(y))
    y = y + block.channel_mixer(block.norm2(y))
    torch.testing.assert_close(block(image), y)


def test_a_global_block_holds_no_table_of_positions_and_takes_other_sizes() -> None:
    module = UniFormer(mixer=SelfAttention(head_dim=8), norm="layer").build(Feature(16, (8, 6))).eval()
    assert module(torch.randn(1, 16, 5, 7)).shape == (1, 16, 5, 7)

"""The parts that NesT is made of."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from archfront.space.library.downsample.conv_pooling import ConvPoolDownsample
from archfront.space.library.layers_partition import Partition
from archfront.space.library.mixer.multi_query_attention import MultiQueryAttention
from archfront.space.library.mixer.partition_attention import PartitionAttention
from archfront.space.types import Feature


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("size", [(8, 8), (7, 10), (5, 3), (1, 2)])
def test_the_pooling_windows_lie_as_with_same_padding(size: tuple[int, int], stride: int) -> None:
    torch.manual_seed(0)
    x = Feature(3, size)
    spec = ConvPoolDownsample().at(5, stride)
    module = spec.build(x)
    (image,) = x.example(2)
    y = module.norm(module.conv(image))
    rows, columns = (-(-n // stride) for n in size)
    expected = torch.empty(2, 5, rows, columns)
    starts = [max(0, (out - 1) * stride + 3 - n) // 2 for n, out in zip(size, (rows, columns), strict=True)]
    for row in range(rows):
        for column in range(columns):
            top, left = row * stride - starts[0], column * stride - starts[1]
            window = y[:, :, max(top, 0) : top + 3, max(left, 0) : left + 3]
            expected[:, :, row, column] = window.amax((2, 3))
    torch.testing.assert_close(module(image), expected)
    assert spec.output(x) == Feature(5, (rows, columns))


@pytest.mark.parametrize("size", [(8, 12), (7, 9)])
def test_taking_a_map_apart_into_blocks_and_together_again_changes_nothing(size: tuple[int, int]) -> None:
    (x,) = Feature(3, size).example(2)
    partition = Partition(size, 4)
    assert torch.equal(partition.merge(partition.split(x)), x)


@pytest.mark.parametrize("size", [(8, 8), (5, 7)])
def test_shared_keys_and_values_are_equal_ones_of_all_heads(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    x, heads = Feature(12, size), 3
    shared = MultiQueryAttention(extent=4, heads=heads).build(x).double()
    own = PartitionAttention(partition="window", extent=4, heads=heads, position="none").build(x).double()
    with torch.no_grad():
        key_value = shared.key_value.weight.unflatten(0, (2, 4)).repeat(1, heads, 1, 1, 1).flatten(0, 1)
        bias = shared.key_value.bias.unflatten(0, (2, 4)).repeat(1, heads).flatten()
        own.qkv.weight.copy_(torch.cat((shared.query.weight, key_value)))
        own.qkv.bias.copy_(torch.cat((shared.query.bias, bias)))
        own.project.load_state_dict(shared.project.state_dict())
    (image,) = x.example(2, dtype=torch.float64)
    torch.testing.assert_close(shared(image), own(image))


def test_one_head_of_shared_keys_is_plain_attention() -> None:
    torch.manual_seed(0)
    x = Feature(6, (3, 3))
    module = MultiQueryAttention(extent=3, heads=1).build(x).double()
    (image,) = x.example(1, dtype=torch.float64)
    query, (key, value) = module.query(image), module.key_value(image).chunk(2, 1)
    tokens = [z.flatten(2).transpose(1, 2) for z in (query, key, value)]
    mixed = F.scaled_dot_product_attention(*tokens).transpose(1, 2).unflatten(2, (3, 3))
    torch.testing.assert_close(module(image), module.project(mixed))

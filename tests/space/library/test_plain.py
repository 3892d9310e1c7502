"""The all-convolutional net: plain convolutions, ways to reduce a map, one map a class."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from archfront.space import Architecture, Image, Network, ShapeError, Stage
from archfront.space.library.block.plain import PlainConv
from archfront.space.library.head.classifier import Classifier
from archfront.space.library.head.conv_classifier import ConvClassifier
from archfront.space.library.head.flatten_classifier import FlattenClassifier
from archfront.space.library.stem.plain import PlainStem
from archfront.space.references import references
from archfront.space.types import Feature, Scores

WAYS = [
    PlainConv(),
    PlainConv(pool="max"),
    PlainConv(pool="max", pool_kernel=3),
    PlainConv(pool="average", pool_kernel=3),
]


@pytest.mark.parametrize("size", [(8, 8), (7, 5)])
@pytest.mark.parametrize("block", WAYS, ids=repr)
def test_all_ways_to_halve_a_map_leave_the_other_shapes_of_a_network_alone(
    block: PlainConv, size: tuple[int, int]
) -> None:
    def shapes(block: PlainConv) -> list[tuple[int, ...]]:
        stages = (Stage(width=8, block=PlainConv()), Stage(width=12, stride=2, depth=2, block=block))
        network = Network(stem=PlainStem(width=8), stages=stages, head=ConvClassifier(classes=3))
        return [part.spec.output(part.input).shapes[0] for part in Architecture(Image(3, *size), network).parts]

    assert shapes(block) == shapes(WAYS[0])


def test_the_convolution_strides_or_the_pooling_behind_it_does() -> None:
    x = Feature(3, (7, 6))
    (image,) = x.example(2)
    strided = PlainConv(width=4, stride=2, norm="none").build(x).eval()
    pooled = PlainConv(width=4, stride=2, norm="none", pool="max", pool_kernel=3).build(x).eval()
    pooled.load_state_dict(strided.state_dict())
    full = F.conv2d(image, strided.conv.weight, strided.conv.bias, padding=1).relu()
    torch.testing.assert_close(strided(image), full[:, :, ::2, ::2])
    torch.testing.assert_close(pooled(image), F.max_pool2d(full, 3, 2, 1))


def test_without_padding_the_border_is_lost() -> None:
    assert PlainConv(kernel=3, padding="valid").output(Feature(4, (8, 8))) == Feature(4, (6, 6))
    assert PlainConv(kernel=3, padding="valid", stride=2).output(Feature(4, (299, 8))) == Feature(4, (149, 3))
    with pytest.raises(ShapeError, match='use padding "same"'):
        PlainConv(kernel=5, padding="valid").output(Feature(4, (4, 9)))


def test_dropout_follows_the_layers_that_shrink_and_the_image() -> None:
    architecture = references["All-CNN-C"].architecture()
    rates = [(m.p, type(m)) for m in architecture.build().modules() if isinstance(m, nn.Dropout) and m.p > 0]
    assert [p for p, _ in rates] == [0.2, 0.5, 0.5]
    strides = [part.spec.stride for part in architecture.parts[1:-1]]  # type: ignore[attr-defined]
    dropping = [part.spec.dropout > 0 for part in architecture.parts[1:-1]]  # type: ignore[attr-defined]
    assert dropping == [stride == 2 for stride in strides]


def test_the_seventh_layer_is_not_padded_and_48_pixels_are_taken_as_well() -> None:
    parts = references["All-CNN-C"].architecture().parts
    assert [part.spec.output(part.input).size[0] for part in parts[:-1]] == [32, 32, 16, 16, 16, 8, 6, 6]  # type: ignore[union-attr]
    larger = references["All-CNN-C"].architecture(Image(3, 48, 48))
    module = larger.build().eval()
    smaller = references["All-CNN-C"].architecture().build()
    module.load_state_dict(smaller.state_dict())
    assert larger.output == Scores(10)
    assert module(torch.randn(1, 3, 48, 48)).shape == (1, 10)


def test_one_map_a_class_without_activation_is_a_linear_layer_on_the_mean() -> None:
    x = Feature(5, (4, 3))
    maps = ConvClassifier(classes=3, activation="none").build(x).double().eval()
    linear = Classifier(classes=3).build(x).double().eval()
    with torch.no_grad():
        linear.linear.weight.copy_(maps.conv.weight.flatten(1))
        linear.linear.bias.copy_(maps.conv.bias)
    (image,) = x.example(2, dtype=torch.float64)
    torch.testing.assert_close(maps(image), linear(image))


@pytest.mark.parametrize("head", [ConvClassifier(classes=3), Classifier(classes=3), FlattenClassifier(classes=3)])
def test_three_heads_give_scores(head: Any) -> None:
    x = Feature(5, (4, 3))
    assert head.output(x) == Scores(3)
    assert head.build(x).eval()(*x.example(2)).shape == (2, 3)

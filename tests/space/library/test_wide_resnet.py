"""Wide residual networks: types of blocks and widths."""

from __future__ import annotations

import pytest
import torch

from archfront.space import Architecture, Image, Network, Space, Stage, int_range, one_of
from archfront.space.library.block.bottleneck import Bottleneck
from archfront.space.library.block.wide_basic import WideBasic
from archfront.space.library.head.classifier import Classifier
from archfront.space.library.stem.convolution import ConvStem
from archfront.space.references.resnet import residual_network
from archfront.space.references.wide_resnet import wide_network
from archfront.space.types import Feature


def parameters(architecture: Architecture) -> int:
    with torch.device("meta"):
        return sum(p.numel() for p in architecture.build().parameters())


@pytest.mark.parametrize(
    ("kernels", "ninths"), [((3, 3), 18), ((3, 1, 3), 19), ((1, 3, 1), 11), ((1, 3), 10), ((3, 1), 10), ((3, 1, 1), 11)]
)
def test_the_types_of_blocks_differ_in_their_kernels_alone(kernels: tuple[int, ...], ninths: int) -> None:
    module = WideBasic(kernels=kernels).build(Feature(8, (4, 4)))
    assert sum(p.numel() for p in module.parameters() if p.dim() == 4) == ninths * 8 * 8
    assert sum(p.numel() for p in module.parameters() if p.dim() == 1) == 2 * 8 * len(kernels)


@pytest.mark.parametrize("depth", [16, 28])
def test_width_1_is_the_pre_activation_resnet_of_the_same_depth(depth: int) -> None:
    """Counted from He et al., 2016, Identity Mappings in Deep Residual Networks, with 1x1 projections."""
    blocks, total, before = (depth - 4) // 6, 27 * 16, 16
    for width in (16, 32, 64):
        for _ in range(blocks):
            total += 2 * before + 9 * before * width + 2 * width + 9 * width * width
            total += before * width if before != width else 0
            before = width
    architecture = Architecture(Image(3, 32, 32), wide_network(depth, 1, 10))
    assert parameters(architecture) == total + 2 * 64 + 64 * 10 + 10
    assert sum(p.dim() == 4 for p in architecture.build().parameters()) == depth - 4 + 1 + 2


@pytest.mark.parametrize("multiplier", [1.0, 1.5, 2.0, 3.0])
def test_the_imagenet_form_widens_only_the_3x3_convolutions(multiplier: float) -> None:
    network = residual_network(Bottleneck(ratio=0.25 * multiplier), (3, 4, 6, 3), 256, 1000)
    with torch.device("meta"):
        convs = [p for p in Architecture(Image(3, 64, 64), network).build().stages.parameters() if p.dim() == 4]
    inner = sorted({p.shape[0] for p in convs if p.shape[2] == 3})
    assert inner == [int(width * multiplier) for width in (64, 128, 256, 512)]
    assert max(p.shape[0] for p in convs) == 2048


def test_a_space_under_a_bound_finds_both_types_of_blocks_with_matched_parameters() -> None:
    def matched(architecture: Architecture) -> bool:
        return abs(parameters(architecture) / 20_000 - 1) < 0.1

    block = WideBasic(kernels=one_of((3, 3), (1, 3, 1)))
    stage = Stage(width=int_range(16, 48, step=4), block=block)
    network = Network(stem=ConvStem(width=16), stages=(stage,), head=Classifier(classes=10))
    space = Space(Image(3, 8, 8), network, where=matched)
    found = [space.sample(seed) for seed in range(12)]
    kinds = {architecture.network.stages[0].blocks[0].kernels for architecture in found}
    assert kinds == {(3, 3), (1, 3, 1)}
    assert all(18_000 < parameters(architecture) < 22_000 for architecture in found)

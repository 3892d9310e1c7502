"""Inception: branches side by side, with and without a residual connection."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archfront.space.errors import ShapeError, SpecError
from archfront.space.library.block.inception import Inception
from archfront.space.library.block.inception_residual import InceptionResidual
from archfront.space.references import references
from archfront.space.types import Feature


def conv(module: nn.Module, x: Tensor, padding: tuple[int, int] = (0, 0), stride: int = 1) -> Tensor:
    """A convolution with batch norm in its initial state, and ReLU."""
    return (F.conv2d(x, module.conv.weight, None, stride, padding) / (1 + 1e-5) ** 0.5).relu()


def test_branches_are_computed_side_by_side_and_concatenated() -> None:
    spec = Inception(
        branches=(
            ("average", (3, 1, 1)),
            ((2, 1, 1), ((2, 1, 3), (3, 3, 1))),
            ((4, 1, 1), (2, 7, 1)),
            ("max",),
        ),
        width=15,
    )
    x = Feature(5, (8, 6))
    module = spec.build(x).double().eval()
    (image,) = x.example(2, dtype=torch.float64)
    average, forked, tall, _ = module.branches.branches
    count = F.avg_pool2d(torch.ones_like(image), 3, 1, 1)
    first = conv(average[1], F.avg_pool2d(image, 3, 1, 1) / count)
    start = conv(forked[0], image)
    second = torch.cat((conv(forked[1].branches[0], start, (0, 1)), conv(forked[1].branches[1], start, (1, 0))), 1)
    third = conv(tall[1], conv(tall[0], image), (3, 0))
    fourth = F.max_pool2d(image, 3, 1, 1)
    torch.testing.assert_close(module(image), torch.cat((first, second, third, fourth), 1))


@pytest.mark.parametrize(("padding", "size"), [("same", (5, 5)), ("valid", (4, 4))])
def test_the_last_layer_of_every_branch_carries_stride_and_padding(padding: str, size: tuple[int, int]) -> None:
    branches = (((4, 3, 3),), ((2, 1, 1), (3, 3, 3), (4, 3, 3)), ("max",))
    spec = Inception(branches=branches, padding=padding, width=14, stride=2)  # type: ignore[arg-type]
    x = Feature(6, (9, 9))
    assert spec.output(x) == Feature(14, size)
    assert spec.build(x)(*x.example(2)).shape == (2, 14, *size)


def test_another_width_is_reached_by_a_1x1_convolution_and_the_papers_width_without_one() -> None:
    x = Feature(8, (6, 6))
    yielded = 16 * 4
    assert sum(p.numel() for p in Inception(width=yielded).build(x).project.parameters()) == 0
    assert Inception(width=10).build(x).project.conv.weight.shape == (10, yielded, 1, 1)


def test_branches_that_disagree_or_say_nothing_are_refused() -> None:
    with pytest.raises(ShapeError, match='use one size for all of them, or padding "same"'):
        Inception(padding="valid").output(Feature(8, (9, 9)))
    with pytest.raises(SpecError, match="branches"):
        Inception(branches=((),))
    with pytest.raises(SpecError, match="branches"):
        Inception(branches=(((4, 2, 2),),))


def test_a_residual_block_of_scale_0_is_the_relu_of_its_input() -> None:
    x = Feature(6, (5, 4))
    (image,) = x.example(2)
    block = InceptionResidual(scale=0.0).build(x).eval()
    torch.testing.assert_close(block(image), image.relu(), rtol=0, atol=0)
    last = InceptionResidual(scale=0.0, last_activation=False).build(x).eval()
    torch.testing.assert_close(last(image), image, rtol=0, atol=0)


def test_a_residual_block_adds_the_scaled_linear_projection_of_its_branches() -> None:
    x = Feature(6, (5, 4))
    block = InceptionResidual(branches=(((3, 1, 1),), ((2, 1, 1), (4, 3, 3))), scale=0.2).build(x).double().eval()
    (image,) = x.example(2, dtype=torch.float64)
    one, two = block.branches.branches
    joined = torch.cat((conv(one[0], image), conv(two[1], conv(two[0], image), (1, 1))), 1)
    branch = torch.einsum("oc,nchw->nohw", block.project.weight.flatten(1), joined) + block.project.bias[:, None, None]
    torch.testing.assert_close(block(image), (image + 0.2 * branch).relu())


def test_a_row_and_a_column_of_rank_one_equal_their_outer_product() -> None:
    spec = Inception(branches=(((1, 1, 7), (1, 7, 1)),), width=1)
    x = Feature(1, (9, 11))
    module = spec.build(x).double().eval()
    row, column = module.branches.branches[0]
    for layer in (row, column):
        layer.norm, layer.act = nn.Identity(), nn.Identity()
    (image,) = x.example(2, dtype=torch.float64)
    outer = column.conv.weight[0, 0] @ row.conv.weight[0, 0]
    torch.testing.assert_close(module(image), F.conv2d(image, outer[None, None], padding=3))


@pytest.mark.parametrize("name", ["Inception-v4", "Inception-ResNet-v2"])
def test_an_image_of_299_pixels_has_maps_of_35_17_and_8_pixels(name: str) -> None:
    sizes = [part.spec.output(part.input).shapes[0][1:] for part in references[name].architecture().parts[:-1]]
    maps = list(dict.fromkeys(sizes))
    assert maps[-3:] == [(35, 35), (17, 17), (8, 8)]

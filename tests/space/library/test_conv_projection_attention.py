"""Attention with convolutional projections against plain attention and plain sums."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archfront.hw_profiles.cost import part_cost
from archfront.space.architecture import Architecture
from archfront.space.library.channel_mixer.quick_feed_forward import QuickFeedForward
from archfront.space.library.downsample.grid_class_token import GridClassToken, TokenGrid
from archfront.space.library.mixer.conv_projection_attention import ConvProjectionAttention
from archfront.space.references import references
from archfront.space.types import Feature, Image


def attended(module: nn.Module, tokens: tuple[Tensor, Tensor, Tensor], scale: float) -> Tensor:
    """The attention of the module on queries, keys and values in front of their linear maps, (N, C, L) each."""
    heads = []
    for projection, t in zip((module.query, module.key, module.value), tokens, strict=True):
        y = torch.einsum("oc,ncl->nol", projection.linear.weight[:, :, 0], t) + projection.linear.bias[:, None]
        heads.append(y.unflatten(1, (module.heads, -1)))
    query, key, value = heads
    weights = (scale * torch.einsum("nhdl,nhdm->nhlm", query, key)).softmax(-1)
    mixed = torch.einsum("nhlm,nhdm->nhdl", weights, value).flatten(1, 2)
    return torch.einsum("oc,ncl->nol", module.project.weight[:, :, 0], mixed) + module.project.bias[:, None]


@pytest.mark.parametrize(("scale", "factor"), [("head", 0.5), ("width", 8**-0.5)])
def test_linear_projections_with_stride_one_are_plain_self_attention(scale: str, factor: float) -> None:
    torch.manual_seed(0)
    spec = ConvProjectionAttention(projection="linear", kv_stride=1, head_dim=4, scale=scale)
    module = spec.build(Feature(8, (3, 5))).double()
    x = torch.randn(2, 8, 3, 5, dtype=torch.float64)
    tokens = x.flatten(2)
    torch.testing.assert_close(module(x).flatten(2), attended(module, (tokens, tokens, tokens), factor))


@pytest.mark.parametrize("size", [(4, 6), (5, 3)])
@pytest.mark.parametrize("projection", ["conv", "average", "linear"])
def test_keys_and_values_come_from_every_second_neighbourhood(projection: str, size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    module = ConvProjectionAttention(projection=projection, head_dim=4).build(Feature(8, size)).double().eval()
    x = torch.randn(1, 8, *size, dtype=torch.float64)
    padded = F.pad(x, (1, 1, 1, 1))

    def neighbourhoods(branch: nn.Module, step: int) -> Tensor:
        columns = []
        for r in range(0, size[0], step):
            for c in range(0, size[1], step):
                near = padded[:, :, r : r + 3, c : c + 3]
                if projection == "conv":
                    seen = (near * branch.spatial.weight[:, 0]).sum((2, 3)) / (1 + 1e-5) ** 0.5
                else:
                    seen = near.mean((2, 3)) if projection == "average" else near[:, :, 1, 1]
                columns.append(seen)
        return torch.stack(columns, 2)

    query = neighbourhoods(module.query, 1) if projection == "conv" else x.flatten(2)
    tokens = (query, neighbourhoods(module.key, 2), neighbourhoods(module.value, 2))
    assert tokens[1].shape[2] == -(-size[0] // 2) * -(-size[1] // 2)
    torch.testing.assert_close(module(x).flatten(2), attended(module, tokens, 8**-0.5))


def test_a_class_token_passes_the_convolutions_by_and_joins_the_attention() -> None:
    torch.manual_seed(0)
    x = TokenGrid(8, (1, 13), (3, 4))
    module = ConvProjectionAttention(head_dim=4).build(x).double().eval()
    row = torch.randn(2, 8, 1, 13, dtype=torch.float64)
    token, grid = row[:, :, 0, :1], row[:, :, 0, 1:].reshape(2, 8, 3, 4)
    tokens = []
    for branch in (module.query, module.key, module.value):
        tokens.append(torch.cat((token, branch.norm(branch.spatial(grid)).flatten(2)), 2))
    assert [t.shape[2] for t in tokens] == [13, 5, 5]
    torch.testing.assert_close(module(row)[:, :, 0], attended(module, tuple(tokens), 8**-0.5))


def test_the_row_keeps_its_grid_through_blocks_and_other_widths_but_not_through_strides() -> None:
    x = GridClassToken().at(24, 2).output(Feature(16, (5, 8)))
    assert x == TokenGrid(24, (1, 13), (3, 4))
    assert ConvProjectionAttention(head_dim=8).output(x) is x
    assert x.at(24, 1) == x and x.at(None) == x
    assert x.at(32) == TokenGrid(32, (1, 13), (3, 4))
    assert type(x.at(32, 2)) is Feature
    assert str(x) == "24x(1+3x4)"


def test_a_key_stride_of_two_divides_the_products_of_queries_and_keys_by_four() -> None:
    x = Feature(16, (8, 8))
    products = []
    for stride in (1, 2):
        keys = 64 // stride**2
        others = (9 * 16 + 16**2) * (64 + 2 * keys) + 64 * 16**2
        products.append(part_cost(ConvProjectionAttention(kv_stride=stride), x).contractions - others)
    assert products == [2 * 64 * 64 * 16, 2 * 64 * 16 * 16]


@pytest.mark.parametrize("pixels", [256, 320])
def test_cvt_takes_larger_images_without_another_parameter(pixels: int) -> None:
    with torch.device("meta"):
        architecture = references["CvT-13"].architecture(Image(3, pixels, pixels))
        module = architecture.build()
        assert sum(p.numel() for p in module.parameters()) == references["CvT-13"].params
        assert module(*architecture.input.example(2)).shape == (2, 1000)


def test_cvt_on_images_that_are_not_square_trains() -> None:
    small = references["CvT-13"].architecture(Image(3, 32, 48), classes=3)
    x, *_ = (part.input for part in small.parts if isinstance(part.input, TokenGrid))
    assert x == TokenGrid(384, (1, 7), (2, 3))
    assert Architecture.from_dict(small.to_dict()) == small


def test_the_perceptron_uses_the_sigmoid_form_of_gelu() -> None:
    torch.manual_seed(0)
    module = QuickFeedForward(expand=2).build(Feature(4, (2, 3))).double()
    x = torch.randn(2, 4, 2, 3, dtype=torch.float64)
    hidden = module.expand(x)
    torch.testing.assert_close(module(x), module.project(hidden / (1 + (-1.702 * hidden).exp())))

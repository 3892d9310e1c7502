"""Non-local sums against double loops over positions."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from archfront.hw_profiles.cost import count, part_cost
from archfront.space.errors import ShapeError
from archfront.space.library.block.non_local_block import NonLocalBlock
from archfront.space.library.mixer.non_local import NonLocal, NonLocalSum
from archfront.space.types import Feature

PAIRWISE = ("gaussian", "embedded_gaussian", "dot_product", "concatenation")


def double_loop(module: NonLocalSum, x: Tensor, others: Tensor) -> Tensor:
    """sum_j f(x_i, x_j) g(x_j) / norm, projected: one vector a position, (C, L) and (C, M) to (C, L)."""

    def linear(conv: nn.Module, vector: Tensor) -> Tensor:
        y = conv.weight[:, :, 0] @ vector
        return y if conv.bias is None else y + conv.bias

    columns = []
    for i in range(x.shape[1]):
        weights, values = [], []
        for j in range(others.shape[1]):
            if module.pairwise == "gaussian":
                weights.append((module.scale * x[:, i] @ others[:, j]).exp())
            else:
                q, k = linear(module.query, x[:, i]), linear(module.key, others[:, j])
                if module.pairwise == "concatenation":
                    score = linear(module.query_score, q) + linear(module.key_score, k)
                    weights.append(module.scale * score[0].clamp_min(0))
                else:
                    product = module.scale * q @ k
                    weights.append(product.exp() if module.pairwise == "embedded_gaussian" else product)
            values.append(linear(module.value, others[:, j]))
        norm = sum(weights) if "gaussian" in module.pairwise else len(weights)
        columns.append(linear(module.project, sum(w * v for w, v in zip(weights, values, strict=True)) / norm))
    return torch.stack(columns, 1)


@pytest.mark.parametrize("scale", [False, True])
@pytest.mark.parametrize("pairwise", PAIRWISE)
def test_every_pairwise_function_equals_a_double_loop(pairwise: str, scale: bool) -> None:
    torch.manual_seed(0)
    module = NonLocal(pairwise=pairwise, scale=scale).build(Feature(4, (5, 5))).double()
    x = torch.randn(2, 4, 5, 5, dtype=torch.float64)
    expected = torch.stack([double_loop(module, image.flatten(1), image.flatten(1)) for image in x])
    torch.testing.assert_close(module(x).flatten(2), expected)


@pytest.mark.parametrize("pairwise", PAIRWISE)
def test_subsampling_takes_keys_and_values_from_the_maxima_of_tiles(pairwise: str) -> None:
    torch.manual_seed(0)
    module = NonLocal(pairwise=pairwise, subsample=2).build(Feature(4, (4, 5))).double()
    x = torch.randn(1, 4, 4, 5, dtype=torch.float64)
    tiles = [x[0, :, r : r + 2, c : c + 2].amax((1, 2)) for r in (0, 2) for c in (0, 2, 4)]
    torch.testing.assert_close(module(x)[0].flatten(1), double_loop(module, x[0].flatten(1), torch.stack(tiles, 1)))


@pytest.mark.parametrize("size", [(7,), (3, 4), (2, 3, 4)])
def test_sequences_images_and_volumes_are_the_same_sum_over_their_positions(size: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    module = NonLocal().build(Feature(6, size)).double()
    line = NonLocal().build(Feature(6, (math.prod(size),))).double()
    line.load_state_dict(module.state_dict())
    x = torch.randn(2, 6, *size, dtype=torch.float64)
    torch.testing.assert_close(module(x).flatten(2), line(x.flatten(2)))


def test_subsampling_of_video_keeps_every_frame() -> None:
    module = NonLocal(subsample=2).build(Feature(4, (3, 4, 4)))
    assert module.pool(torch.randn(1, 4, 3, 4, 4)).shape[2:] == (3, 2, 2)


def test_both_orders_of_the_dot_product_agree_and_the_cheaper_one_is_built() -> None:
    torch.manual_seed(0)
    late, early = (NonLocalSum(8, 4, 2, "dot_product", values_first=first).double() for first in (False, True))
    early.load_state_dict(late.state_dict())
    x = torch.randn(2, 8, 6, 6, dtype=torch.float64)
    torch.testing.assert_close(early(x), late(x), rtol=1e-5, atol=1e-5)
    for channels, size in ((8, (12, 12)), (128, (3, 3))):
        feature = Feature(channels, size)
        built = part_cost(NonLocal(pairwise="dot_product"), feature).contractions
        orders = (NonLocalSum(channels, channels // 2, 2, "dot_product", values_first=f) for f in (False, True))
        assert built == min(count(order, feature).contractions for order in orders)


def test_subsampling_by_two_divides_the_pairwise_cost_by_four() -> None:
    x = Feature(16, (8, 12))
    weights = 16 * 8
    pairs = []
    for subsample in (1, 2):
        macs = part_cost(NonLocal(subsample=subsample), x).contractions
        keys = 96 // subsample**2
        pairs.append(macs - weights * (2 * 96 + 2 * keys))
    assert pairs == [2 * 96 * 96 * 8, 2 * 96 * 24 * 8]


@pytest.mark.parametrize("pairwise", PAIRWISE)
def test_the_block_begins_as_the_identity(pairwise: str) -> None:
    module = NonLocalBlock(mixer=NonLocal(pairwise=pairwise)).build(Feature(8, (5, 4)))
    x = torch.randn(3, 8, 5, 4)
    assert torch.equal(module.train()(x), x)
    assert torch.equal(module.eval()(x), x)


def test_the_block_adds_the_normalised_sum() -> None:
    torch.manual_seed(0)
    module = NonLocalBlock(zero_init=False).build(Feature(8, (5, 4))).double().train()
    x = torch.randn(3, 8, 5, 4, dtype=torch.float64)
    y = module.mixer(x)
    normed = (y - y.mean((0, 2, 3), keepdim=True)) / (y.var((0, 2, 3), keepdim=True, correction=0) + 1e-5).sqrt()
    torch.testing.assert_close(module(x), x + normed)


def test_tiles_larger_than_the_map_are_refused() -> None:
    with pytest.raises(ShapeError, match="subsample 4 exceeds 3 positions; use at most 3"):
        NonLocal(subsample=4).output(Feature(8, (8, 3)))

"""Attention of blocks to their surroundings, and mixers between projections."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from archfront.space.errors import ShapeError
from archfront.space.library.block.metaformer import MetaFormer
from archfront.space.library.mixer.average_pool import AveragePool
from archfront.space.library.mixer.halo_attention import HaloAttention
from archfront.space.library.mixer.identity import IdentityMixer
from archfront.space.library.mixer.partition_attention import PartitionAttention
from archfront.space.library.mixer.projected import ProjectedMixer
from archfront.space.spec import Mixer
from archfront.space.types import Feature


def built(spec: Mixer, x: Feature) -> nn.Module:
    torch.manual_seed(0)
    return spec.build(x).double().eval()


def by_hand(module: nn.Module, x: Tensor, block: int, halo: int, heads: int) -> Tensor:
    """The mean over values of every position's surroundings, one position at a time."""
    query, (key, value) = module.query(x), module.key_value(x).chunk(2, 1)
    channels, height, width = x.shape[1:]
    depth, extent = channels // heads, block + 2 * halo
    mixed = torch.zeros_like(x)
    for row in range(height):
        for column in range(width):
            top, left = row // block * block - halo, column // block * block - halo
            near = [
                (r, c)
                for r in range(max(top, 0), min(top + extent, height))
                for c in range(max(left, 0), min(left + extent, width))
            ]
            for head in range(heads):
                own = slice(head * depth, (head + 1) * depth)
                q = query[0, own, row, column]
                scores = torch.stack(
                    [
                        q @ key[0, own, r, c] / depth**0.5
                        + q @ module.vertical[0, :, r - row + extent - 1]
                        + q @ module.horizontal[0, :, c - column + extent - 1]
                        for r, c in near
                    ]
                )
                values = torch.stack([value[0, own, r, c] for r, c in near])
                mixed[0, own, row, column] = scores.softmax(0) @ values
    return module.project(mixed)


@pytest.mark.parametrize(("block", "halo", "size"), [(2, 1, (4, 6)), (3, 2, (5, 7)), (4, 0, (8, 4)), (8, 1, (3, 5))])
def test_every_position_attends_to_its_block_and_the_halo_around_it(
    block: int, halo: int, size: tuple[int, int]
) -> None:
    x = Feature(8, size)
    module = built(HaloAttention(block=block, halo=halo, heads=2), x)
    (image,) = x.example(1, dtype=torch.float64)
    torch.testing.assert_close(module(image), by_hand(module, image, min(block, max(size)), halo, 2))


def test_without_a_halo_it_is_attention_inside_windows() -> None:
    x = Feature(8, (7, 9))
    module = built(HaloAttention(block=3, halo=0, heads=2), x)
    windows = built(PartitionAttention(partition="window", extent=3, heads=2, position="none"), x)
    with torch.no_grad():
        module.vertical.zero_()
        module.horizontal.zero_()
        windows.qkv.weight.copy_(torch.cat((module.query.weight, module.key_value.weight)))
        windows.qkv.bias.zero_()
        windows.project.load_state_dict(module.project.state_dict())
    (image,) = x.example(2, dtype=torch.float64)
    torch.testing.assert_close(module(image), windows(image))


def test_a_projected_identity_is_the_product_of_its_projections() -> None:
    x = Feature(6, (4, 5))
    module = built(ProjectedMixer(mixer=IdentityMixer()), x)
    (image,) = x.example(2, dtype=torch.float64)
    weight = module.project_out.weight[:, :, 0, 0] @ module.project_in.weight[:, :, 0, 0]
    bias = module.project_out.weight[:, :, 0, 0] @ module.project_in.bias + module.project_out.bias
    torch.testing.assert_close(module(image), torch.einsum("oi,nihw->nohw", weight, image) + bias[:, None, None])


def test_swapping_the_mixer_leaves_every_other_parameter_of_a_block_alone() -> None:
    def others(mixer: Mixer) -> dict[str, torch.Size]:
        module = MetaFormer(mixer=mixer, layer_scale=1e-6).build(Feature(32, (14, 14)))
        return {name: p.shape for name, p in module.named_parameters() if not name.startswith("mixer.")}

    first, *rest = map(others, (ProjectedMixer(), HaloAttention(), ProjectedMixer(mixer=AveragePool())))
    assert all(other == first for other in rest)


def test_heads_that_do_not_divide_the_width_are_refused() -> None:
    with pytest.raises(ShapeError, match="5 heads do not divide 8 channels"):
        HaloAttention(heads=5).output(Feature(8, (4, 4)))

"""Raft token mixing against loops over columns and channels, and multi-scale patches against unfolding."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archfront.space.errors import ShapeError
from archfront.space.library.block.raft import RaftMLP
from archfront.space.library.mixer.raft_token_mixing import RaftTokenMixing
from archfront.space.library.stem.multi_scale_patch import MultiScalePatches
from archfront.space.references import references
from archfront.space.types import Feature


def along_columns(perceptron: nn.Module, x: Tensor, rafts: int) -> Tensor:
    """One vector for each column and each channel of the first raft: the column of that channel in every raft in turn."""
    y = torch.empty_like(x)
    run = x.shape[1] // rafts
    w1, b1, w2, b2 = perceptron.parameters()
    for column in range(x.shape[3]):
        for channel in range(run):
            channels = [raft * run + channel for raft in range(rafts)]
            vector = torch.cat([x[:, c, :, column] for c in channels], 1)
            mixed = F.gelu(vector @ w1.T + b1) @ w2.T + b2
            for c, part in zip(channels, mixed.chunk(rafts, 1), strict=True):
                y[:, c, :, column] = part
    return y


@pytest.mark.parametrize("rafts", [1, 2, 4])
def test_columns_are_mixed_as_a_loop_over_columns_and_channels_mixes_them(rafts: int) -> None:
    torch.manual_seed(0)
    module = RaftTokenMixing(rafts=rafts, axes="vertical").build(Feature(8, (7, 7))).double()
    x = torch.randn(2, 8, 7, 7, dtype=torch.float64)
    torch.testing.assert_close(module(x), along_columns(module.vertical, x, rafts))


def test_the_block_mixes_columns_rows_and_channels_in_turn() -> None:
    torch.manual_seed(0)
    module = RaftMLP(rafts=2).build(Feature(4, (3, 5))).double()
    x = torch.randn(2, 4, 3, 5, dtype=torch.float64)
    y = x + along_columns(module.vertical, module.norm1(x), 2)
    y = y + along_columns(module.horizontal, module.norm2(y).transpose(2, 3), 2).transpose(2, 3)
    torch.testing.assert_close(module(x), y + module.channel_mixer(module.norm3(y)))


def test_the_mixer_with_a_shortcut_is_the_two_residual_layers_in_turn() -> None:
    torch.manual_seed(0)
    module = RaftTokenMixing().build(Feature(4, (3, 5))).double()
    x = torch.randn(2, 4, 3, 5, dtype=torch.float64)
    y = x + module.vertical(x)
    torch.testing.assert_close(x + module(x), y + module.horizontal(y))


def test_with_one_raft_a_column_and_a_channel_change_no_other() -> None:
    module = RaftTokenMixing(rafts=1, axes="vertical").build(Feature(4, (6, 5)))
    x = torch.randn(1, 4, 6, 5)
    changed = x.clone()
    changed[0, 2, 3, 1] += 1
    differs = (module(x) != module(changed)).nonzero()
    assert {(int(c), int(w)) for _, c, _, w in differs} == {(2, 1)}
    assert len(differs) == 6


@pytest.mark.parametrize("scales", [(1,), (1, 2), (1, 2, 3)])
def test_multi_scale_patches_are_one_linear_map_of_all_unfolded_patches(scales: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    module = MultiScalePatches(3, 5, 2, scales).double()
    x = torch.randn(2, 3, 6, 8, dtype=torch.float64)
    patches = [F.unfold(x, 2 * s, stride=2, padding=s - 1) for s in scales]
    weight = torch.cat([conv.weight.flatten(1) for conv in module.convs], 1)
    expected = torch.einsum("oi,nil->nol", weight, torch.cat(patches, 1)) + module.convs[0].bias[:, None]
    torch.testing.assert_close(module(x), expected.reshape(2, 5, 3, 4))


def test_a_network_for_224_pixels_runs_on_256_and_keeps_its_strides() -> None:
    with torch.device("meta"):
        network = references["RaftMLP-S"].architecture().build()
        x = network.stem(torch.randn(1, 3, 256, 256))
        sizes = [x.shape[2]]
        for stage in network.stages:
            x = stage(x)
            sizes.append(x.shape[2])
    assert sizes == [64, 64, 32, 16, 8]


def test_another_size_is_interpolated_in_front_and_back_behind() -> None:
    module = RaftTokenMixing().build(Feature(4, (4, 4)))
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    assert torch.equal(module(torch.randn(1, 4, 6, 5)), torch.zeros(1, 4, 6, 5))


def test_rafts_that_do_not_divide_the_width_are_refused_with_those_that_do() -> None:
    with pytest.raises(ShapeError, match="4 rafts do not divide 6 channels; use 1, 2, 3 or 6"):
        RaftTokenMixing(rafts=4).output(Feature(6, (4, 4)))

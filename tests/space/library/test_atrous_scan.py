"""EfficientVMamba: recurrences, sub-grids, the scan, the block."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from archfront.hw_profiles.cost import count
from archfront.space.library.block.efficient_vss import EfficientVSS
from archfront.space.library.downsample.patch_merging import PatchMerging
from archfront.space.library.gate.normed_squeeze import NormedSqueezeExcite
from archfront.space.library.layers_scan import SelectiveScan, doubled, recurrence, scanned
from archfront.space.library.mixer.atrous_scan import AtrousGrid, AtrousScan
from archfront.space.types import Feature


def stepped(decay: Tensor, drive: Tensor) -> Tensor:
    """The recurrence one step after the other."""
    state, states = torch.zeros_like(drive[..., 0]), []
    for t in range(drive.shape[-1]):
        state = decay[..., t] * state + drive[..., t]
        states.append(state)
    return torch.stack(states, -1)


@pytest.mark.parametrize("length", [1, 2, 3, 7, 16, 37])
def test_the_parallel_recurrence_equals_the_steps_and_so_do_its_gradients(length: int) -> None:
    torch.manual_seed(0)
    decay = torch.rand(2, 3, length, dtype=torch.float64, requires_grad=True)
    drive = torch.randn(2, 3, length, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(2, 3, length, dtype=torch.float64)
    expected, found = stepped(decay, drive), recurrence(decay, drive)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(doubled(decay, drive), (expected, decay.cumprod(-1)))
    torch.testing.assert_close(scanned(decay, drive), expected)
    wanted = torch.autograd.grad((expected * weights).sum(), (decay, drive))
    torch.testing.assert_close(torch.autograd.grad((found * weights).sum(), (decay, drive)), wanted)


def test_a_recurrence_over_many_steps_neither_overflows_nor_forgets() -> None:
    length = 5000
    zeros, ones = torch.zeros(1, length), torch.ones(1, length)
    assert torch.equal(recurrence(ones, ones), torch.arange(1.0, length + 1)[None])
    assert torch.equal(recurrence(zeros, 3 * ones), 3 * ones)
    assert recurrence(torch.full((1, length), 1e-30), ones).isfinite().all()


def test_the_selective_scan_is_the_state_space_model_computed_step_by_step() -> None:
    torch.manual_seed(0)
    sequences, channels, states, length = 2, 3, 4, 6
    scan = SelectiveScan(sequences, channels, 2, states).double()
    torch.nn.init.normal_(scan.skip)
    u = torch.randn(1, sequences, channels, length, dtype=torch.float64)
    expected = torch.zeros_like(u)
    for s in range(sequences):
        part = lambda weight, n, s=s: weight.squeeze(-1).reshape(sequences, n, -1)[s]  # noqa: E731
        down, up = part(scan.step_in.weight, 2), part(scan.step.weight, channels)
        write, read = part(scan.write.weight, states), part(scan.read.weight, states)
        bias, skip = scan.step.bias.reshape(sequences, -1)[s], scan.skip.reshape(sequences, -1)[s]
        rates = -scan.log_decay.reshape(sequences, channels, states)[s].exp()
        state = torch.zeros(channels, states, dtype=torch.float64)
        for t in range(length):
            now = u[0, s, :, t]
            step = F.softplus(up @ (down @ now) + bias)
            state = (step[:, None] * rates).exp() * state + (step * now)[:, None] * (write @ now)
            expected[0, s, :, t] = state @ (read @ now) + skip * now
    torch.testing.assert_close(scan(u), expected)


@pytest.mark.parametrize("step", [1, 2, 3, 4])
@pytest.mark.parametrize("size", [(8, 8), (7, 5), (1, 3)])
def test_taking_a_map_apart_and_putting_it_together_is_the_identity(step: int, size: tuple[int, int]) -> None:
    x = torch.randn(2, 3, *size)
    grid = AtrousGrid(step)
    sequences = grid.split(x)
    assert sequences.shape == (2, step**2, 3, math.ceil(size[0] / step) * math.ceil(size[1] / step))
    assert torch.equal(grid.merge(sequences, size), x)


def test_the_four_sequences_are_those_of_the_paper() -> None:
    x = torch.arange(24.0).reshape(1, 1, 4, 6)
    rows, columns, rows_right, columns_right = AtrousGrid(2).split(x)[0, :, 0]
    assert torch.equal(rows, x[0, 0, ::2, ::2].flatten())
    assert torch.equal(columns, x[0, 0, 1::2, ::2].T.flatten())
    assert torch.equal(rows_right, x[0, 0, ::2, 1::2].flatten())
    assert torch.equal(columns_right, x[0, 0, 1::2, 1::2].T.flatten())


def test_step_1_is_one_plain_scan_row_by_row() -> None:
    x = torch.randn(1, 2, 3, 4)
    assert torch.equal(AtrousGrid(1).split(x), x.flatten(2)[:, None])


def test_the_scan_of_four_sub_grids_costs_a_quarter_of_the_scan_in_four_directions() -> None:
    scan = SelectiveScan(4, 6, 1, 16)

    class Sequences(Feature):
        @property
        def shapes(self) -> tuple[tuple[int, ...], ...]:
            return ((4, 6, *self.size),)

    atrous, directions = (count(scan, Sequences(6, (length,))) for length in (8 * 8 // 4, 8 * 8))
    assert 4 * atrous.macs == directions.macs
    assert 4 * atrous.contractions == directions.contractions


def test_information_stays_in_its_sub_grid_unless_a_convolution_carries_it_over() -> None:
    torch.manual_seed(0)
    x = Feature(4, (8, 8))
    for kernel, mixes in ((1, False), (3, True)):
        module = AtrousScan(kernel=kernel).build(x).double().eval()
        image = torch.randn(1, 4, 8, 8, dtype=torch.float64, requires_grad=True)
        (gradient,) = torch.autograd.grad(module(image)[0, :, 7, 7].sum(), image)
        assert bool(gradient[..., 0::2, 0::2].any()) == mixes
        assert bool(gradient[..., 1::2, 1::2].all())


@pytest.mark.parametrize("scanned", [None, 0.5])
def test_the_scan_in_few_channels_has_maps_around_it(scanned: float | None) -> None:
    module = AtrousScan(scanned=scanned).build(Feature(8, (4, 4)))
    assert module.scan.skip.numel() == 4 * (16 if scanned is None else 8)
    assert module(torch.randn(2, 8, 4, 4)).shape == (2, 8, 4, 4)


def test_the_block_adds_scan_and_convolution_through_one_gate() -> None:
    x = Feature(16, (6, 5))
    torch.manual_seed(0)
    block = EfficientVSS().build(x).eval()
    (image,) = x.example(2)
    normed = block.norm1(image)
    expected = image + block.gate(block.mixer(normed)) + block.gate(block.local(normed))
    torch.testing.assert_close(block(image), expected)


def test_the_gate_weighs_what_is_not_normalised_by_means_of_what_is() -> None:
    x = Feature(16, (3, 4))
    gate = NormedSqueezeExcite().build(x).double().eval()
    (image,) = x.example(1, dtype=torch.float64)
    normed = F.layer_norm(image.permute(0, 2, 3, 1), (16,), eps=1e-5)
    weights = gate.expand(F.gelu(gate.reduce(normed.mean((1, 2))))).sigmoid()
    torch.testing.assert_close(gate(image), image * weights[:, :, None, None])
    assert gate.reduce.out_features == 2


def test_patch_merging_maps_the_normalised_tiles_linearly() -> None:
    x = Feature(2, (3, 4))
    module = PatchMerging(width=5, stride=2).build(x).double().eval()
    (image,) = x.example(1, dtype=torch.float64)
    padded = F.pad(image, (0, 0, 0, 1))
    for i in range(2):
        for j in range(2):
            tile = padded[0, :, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2].flatten()
            expected = module.project.weight.flatten(1) @ F.layer_norm(tile, (8,), eps=1e-6)
            torch.testing.assert_close(module(image)[0, :, i, j], expected)

"""Fixed point: the simulator against floating point within the bound of rounding, and to the bit against itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrize

from archfront.hw_profiles.accelerator import AcceleratorError
from archfront.hw_profiles.fixed_point import (
    FixedLayer,
    FixedNetwork,
    FixedPoint,
    convert,
    error_bound,
    fraction_bits,
    quantise,
    run_layer,
    shifted,
)

torch.set_num_threads(1)


def network(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 12, 3, stride=2, bias=False), nn.ReLU(),
        nn.Flatten(), nn.Dropout(), nn.Linear(12 * 3 * 3, 5),
    ).eval()  # fmt: skip


def test_numbers_are_rounded_and_saturate_without_wrapping() -> None:
    values = torch.tensor([0.0, 1.0, -1.0, 0.00004, 1.9999, 2.0, 100.0, -100.0])
    assert quantise(values, 16, 14).tolist() == [0, 16384, -16384, 1, 32766, 32767, 32767, -32768]


@pytest.mark.parametrize(("largest", "fraction"), [(0.0, 14), (1.99, 14), (2.0, 13), (3.9, 13), (100.0, 8), (4e4, -1)])
def test_as_many_bits_stand_behind_the_point_as_do_not_overflow(largest: float, fraction: int) -> None:
    assert fraction_bits(largest, 16) == fraction
    assert abs(quantise(torch.tensor(largest), 16, fraction)).item() <= 32767
    assert abs(quantise(torch.tensor(largest), 16, fraction).item() / 2.0**fraction - largest) <= 2.0 ** -(fraction + 1)


def test_an_infinite_weight_has_no_format() -> None:
    with pytest.raises(AcceleratorError, match="inf"):
        fraction_bits(float("inf"), 16)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("bits", [8, 12, 16])
def test_a_simulated_convolution_differs_from_floating_point_by_rounding_only(seed: int, bits: int) -> None:
    torch.manual_seed(seed)
    conv, x = nn.Conv2d(5, 7, 3, padding=1), torch.randn(2, 5, 9, 11)
    fixed = convert(nn.Sequential(conv), x, weight_bits=bits)
    bound = error_bound(fixed.layers[0], conv.weight.detach(), (float(x.min()), float(x.max())))
    difference = (fixed(x) - conv(x)).abs().max()
    assert 0 < difference <= bound
    assert bound < 1e-1 * conv(x).abs().max()


def test_integer_results_are_the_same_in_every_run_and_order() -> None:
    fixed, x = convert(network(), torch.randn(4, 3, 16, 16)), torch.randn(4, 3, 16, 16)
    first = fixed(x)
    assert torch.equal(first, fixed(x))
    assert torch.equal(first, torch.cat([fixed(one[None]) for one in x]))


def test_a_convolution_is_the_sum_of_integer_products() -> None:
    """Against plain integer arithmetic, window by window."""
    torch.manual_seed(0)
    weight, values = torch.randint(-(2**15), 2**15, (3, 2, 3, 3)), torch.randint(-(2**15), 2**15, (1, 2, 6, 5))
    bias = torch.randint(-(2**20), 2**20, (3,))
    layer = FixedLayer("conv", (2, 1), (1, 1), (3, 3), False, weight_fraction=14, in_fraction=10, out_fraction=2)
    windows = F.unfold(values.double(), (3, 3), padding=1, stride=(2, 1)).long()[0]
    sums = (weight.flatten(1) @ windows + bias[:, None]).clamp(-(2**31), 2**31 - 1)
    expected = torch.tensor([(int(s) + (1 << 21)) >> 22 for s in sums.flatten()]).clamp(-(2**15), 2**15 - 1)
    assert torch.equal(run_layer(layer, weight, bias, values).flatten(), expected)


def test_accumulators_saturate_at_32_bits() -> None:
    layer = FixedLayer("linear", weight_fraction=15, in_fraction=15, out_fraction=0)
    many = torch.full((1, 1000), 2**15 - 1)
    assert run_layer(layer, many, None, many).item() == round((2**31 - 1) / 2**30)


def test_shifting_rounds_to_the_nearest() -> None:
    assert shifted(torch.tensor([5, 6, 7, -5, -6, -7]), 2).tolist() == [1, 2, 2, -1, -1, -2]
    assert shifted(torch.tensor([3]), -2).tolist() == [12]


def test_a_whole_network_stays_close_to_floating_point() -> None:
    net, x = network(), torch.randn(8, 3, 16, 16)
    fixed = convert(net, x)
    with torch.no_grad():
        expected = net(x)
    assert (fixed(x) - expected).abs().max() < 2e-3 * expected.abs().max()


def test_what_is_saved_computes_the_same_and_is_16_bits_wide(tmp_path: Path) -> None:
    fixed, x = convert(network(), torch.randn(4, 3, 16, 16)), torch.randn(2, 3, 16, 16)
    fixed.save(tmp_path)
    assert torch.equal(FixedNetwork.load(tmp_path)(x), fixed(x))
    schedule = json.loads((tmp_path / "schedule.json").read_text())
    assert [entry["kind"] for entry in schedule] == ["conv", "max_pool", "conv", "flatten", "linear"]
    for entry, layer in zip(schedule, fixed.layers, strict=True):
        assert entry["shift"] == layer.weight_fraction + layer.in_fraction - layer.out_fraction
    from safetensors.torch import load_file

    stored = load_file(tmp_path / "weights.safetensors")
    assert {tensor.dtype for name, tensor in stored.items() if name.endswith("weight")} == {torch.int16}
    assert {tensor.dtype for name, tensor in stored.items() if name.endswith("bias")} == {torch.int32}


def test_training_sees_rounded_weights_and_the_gradient_goes_straight_through() -> None:
    torch.manual_seed(0)
    layer = nn.Linear(4, 3)
    original = layer.weight.detach().clone()
    parametrize.register_parametrization(layer, "weight", FixedPoint(bits=8, fraction=6))
    assert torch.equal(layer.weight, torch.round(original * 64) / 64)
    layer(torch.ones(1, 4)).sum().backward()
    assert torch.equal(layer.parametrizations.weight.original.grad, torch.ones(3, 4))


def test_a_layer_that_the_accelerator_lacks_is_named() -> None:
    with pytest.raises(AcceleratorError, match="SiLU"):
        convert(nn.Sequential(nn.Conv2d(3, 4, 1), nn.SiLU()), torch.randn(1, 3, 4, 4))
    with pytest.raises(AcceleratorError, match="groups=4"):
        convert(nn.Sequential(nn.Conv2d(4, 4, 1, groups=4)), torch.randn(1, 4, 4, 4))

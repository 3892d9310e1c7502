"""The accelerator model: by hand, against the published figures, and that what does not fit is never proposed."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from archfront.hw_profiles.accelerator import (
    BOARDS,
    CHOICES,
    AcceleratorConfig,
    AcceleratorError,
    Layer,
    closest,
    configurations,
    estimate,
    explore,
    layer_cost,
    layers_of,
)
from archfront.space.types import Image, Tokens

torch.set_num_threads(1)

WIDTHS = (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0)


def vgg16() -> nn.Sequential:
    """VGG-16 (Simonyan and Zisserman, 2015); 0 stands for pooling."""
    layers: list[nn.Module] = []
    channels = 3
    for width in WIDTHS:
        layers += [nn.MaxPool2d(2)] if not width else [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
        channels = width or channels
    layers += [nn.Flatten(), nn.Linear(25088, 4096), nn.ReLU(), nn.Dropout(), nn.Linear(4096, 4096), nn.ReLU()]
    return nn.Sequential(*layers, nn.Dropout(), nn.Linear(4096, 1000))


VGG16 = [
    *(
        Layer("conv", a, b, (3, 3), (size, size), (size, size))
        for size, pairs in (
            (224, ((3, 64), (64, 64))),
            (112, ((64, 128), (128, 128))),
            (56, ((128, 256), (256, 256), (256, 256))),
            (28, ((256, 512), (512, 512), (512, 512))),
            (14, ((512, 512), (512, 512), (512, 512))),
        )
        for a, b in pairs
    ),
    *(
        Layer("pool", c, c, (2, 2), (size, size), (size // 2, size // 2), bias=False)
        for c, size in ((64, 224), (128, 112), (256, 56), (512, 28), (512, 14))
    ),
    Layer("linear", 25088, 4096),
    Layer("linear", 4096, 4096),
    Layer("linear", 4096, 1000),
]

COMPUTING = Layer("conv", 64, 64, (3, 3), (56, 56), (56, 56))
MOVING = Layer("linear", 4096, 4096)


def test_the_layers_of_vgg_16_are_read_off_its_modules() -> None:
    with torch.device("meta"):
        small = nn.Sequential(*list(vgg16())[:5])
    assert layers_of(small.to_empty(device="cpu"), Image(3, 224, 224)) == [*VGG16[:2], VGG16[13]]


def test_vgg_16_has_its_published_size() -> None:
    assert round(sum(layer.macs for layer in VGG16) / 1e9, 2) == 15.47
    parameters = sum(layer.weights + layer.out_channels * layer.bias for layer in VGG16)
    assert round(parameters / 1e6, 2) == 138.36


def test_some_setting_gives_the_published_figures_of_vgg_16() -> None:
    """2.0 s an image, 2.63 W, 6.0 GOPS/W on the Ultra96 with Q2.14 weights."""
    found = closest(VGG16, configurations("ultra96", weight_bits=16), 2000, 2.63)
    assert found.config == AcceleratorConfig(pe=8, mac_width=16, clock_mhz=100, bus_bits=32)
    assert str(found.config) == "ultra96: 8 x 16 MACs, Q2.14, 100 MHz, bus of 32 bits"
    assert round(found.latency_ms / 1e3, 1) == 2.0
    assert round(found.watts, 2) == 2.63
    assert round(found.gops_per_watt, 1) == 6.0


def test_the_cycles_of_a_convolution_are_those_that_a_person_computes() -> None:
    cost = layer_cost(COMPUTING, AcceleratorConfig(pe=16, mac_width=32, bus_bits=64))
    assert cost.compute_cycles == 4 * 56 * 56 * 18 + 32
    assert cost.bytes == 4 * 64 * 56 * 56 * 2 + 64 * 576 * 2 + 64 * 4 + 64 * 56 * 56 * 2
    assert cost.move_cycles == -(-cost.bytes // 8)
    assert cost.cycles == max(cost.compute_cycles, cost.move_cycles) + 2000


def test_more_elements_halve_what_waits_for_computing_and_leave_what_waits_for_memory() -> None:
    few, many = AcceleratorConfig(pe=4, mac_width=4, bus_bits=128), AcceleratorConfig(pe=8, mac_width=4, bus_bits=128)
    assert layer_cost(COMPUTING, many).bound == "compute"
    assert (layer_cost(COMPUTING, few).compute_cycles - 32) == 2 * (layer_cost(COMPUTING, many).compute_cycles - 32)
    few, many = AcceleratorConfig(pe=8, bus_bits=32), AcceleratorConfig(pe=16, bus_bits=32)
    assert layer_cost(MOVING, few).bound == layer_cost(MOVING, many).bound == "memory"
    # beside the weights, which are sent once, an input of 8 KiB goes over the bus half as often
    assert layer_cost(MOVING, many).cycles == pytest.approx(layer_cost(MOVING, few).cycles, rel=0.07)


def test_operations_count_twice_the_multiply_adds() -> None:
    found = estimate([COMPUTING], AcceleratorConfig())
    assert found.gops == pytest.approx(2 * COMPUTING.macs / (found.latency_ms / 1e3) / 1e9)
    assert found.gops_per_watt == pytest.approx(2 * COMPUTING.macs / 1e9 / (found.energy_mj / 1e3))


def test_two_multiplications_of_8_bits_share_a_multiplier() -> None:
    assert AcceleratorConfig(pe=16, mac_width=16).dsp == 256
    assert AcceleratorConfig(pe=16, mac_width=16, weight_bits=8, frac_bits=6).dsp == 128


def test_memory_holds_lines_weights_twice_and_sums() -> None:
    found = estimate([COMPUTING], AcceleratorConfig(pe=16, mac_width=16))
    lines, weights, sums = 3 * 56 * 64 * 16, 2 * 16 * 576 * 16, 16 * 56 * 32
    assert found.bram == sum(-(-bits // 36864) for bits in (lines, weights, sums))


def test_everything_is_labelled_as_modelled() -> None:
    found = estimate([COMPUTING], AcceleratorConfig())
    assert {m.provenance for m in found.measurements().values()} == {"modelled"}
    assert found.to_dict()["provenance"] == "modelled"


class SelfAttention(nn.Module):
    """Tokens that attend to each other."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.scaled_dot_product_attention(x, x, x)


@pytest.mark.parametrize(
    ("module", "x", "words"),
    [
        (nn.Conv2d(16, 16, 3, groups=16), Image(16, 8, 8), "grouped"),
        (nn.Conv2d(16, 16, 3, dilation=2), Image(16, 8, 8), "dilated"),
        (nn.ConvTranspose2d(16, 16, 2), Image(16, 8, 8), "transposed"),
        (SelfAttention(), Tokens(4, 16), "aten::scaled_dot_product_attention"),
        (nn.Sequential(nn.Conv2d(16, 16, 1), nn.Sigmoid()), Image(16, 8, 8), "aten::sigmoid"),
        (nn.LayerNorm((16, 8, 8)), Image(16, 8, 8), "aten::layer_norm"),
    ],
)
def test_what_the_template_lacks_is_an_error_that_names_it(module: nn.Module, x: Image, words: str) -> None:
    with pytest.raises(AcceleratorError, match=words):
        layers_of(module, x)


@pytest.mark.parametrize(
    "setting", [{"pe": 3}, {"frac_bits": 15}, {"device": "ultra95"}, {"weight_bits": 8, "frac_bits": 8}]
)
def test_a_setting_that_the_template_lacks_is_refused(setting: dict[str, object]) -> None:
    with pytest.raises(AcceleratorError):
        AcceleratorConfig(**setting)  # type: ignore[arg-type]


def test_there_are_as_many_settings_as_the_choices_say() -> None:
    sizes = {name: len(values) for name, values in CHOICES.items() if name != "frac_bits"}
    expected = 1
    for size in sizes.values():
        expected *= size
    assert len(list(configurations())) == len(set(configurations())) == expected
    assert {c.device for c in configurations("zcu104")} == {"zcu104"}


SMALL = [Layer("conv", 3, 16, (3, 3), (32, 32), (32, 32)), Layer("conv", 16, 32, (3, 3), (16, 16), (16, 16))]
LARGE = [Layer("conv", 3, 64, (3, 3), (32, 32), (32, 32)), Layer("conv", 64, 512, (5, 5), (16, 16), (16, 16))]


@pytest.fixture(scope="module")
def settings() -> list[AcceleratorConfig]:
    return [c for c in configurations() if c.bus_bits == 64 and c.clock_mhz == 200]


def test_a_joint_search_returns_only_what_fits(settings: list[AcceleratorConfig]) -> None:
    front = explore({"small": SMALL, "large": LARGE}, settings, {"small": 0.8, "large": 0.9})
    assert front
    for design in front:
        board = BOARDS[design.estimate.config.device]
        assert design.estimate.dsp <= board.dsp and design.estimate.bram <= board.bram
    assert {design.name for design in front} == {"small", "large"}
    assert not all(estimate(LARGE, config).fits for config in settings)  # the condition is no empty one


def test_the_front_of_a_joint_search_is_that_of_comparing_all_pairs(settings: list[AcceleratorConfig]) -> None:
    every = [found for config in settings for found in [estimate(SMALL, config)] if found.fits]
    costs = {(e.latency_ms, float(e.dsp), e.energy_mj) for e in every}
    best = {a for a in costs if not any(b != a and all(y <= x for x, y in zip(a, b, strict=True)) for b in costs)}
    assert {design.costs for design in explore({"small": SMALL}, settings)} == best


def test_nothing_is_proposed_where_nothing_fits() -> None:
    huge = [Layer("linear", 10**6, 10)]
    assert explore({"huge": huge}) == []
    with pytest.raises(AcceleratorError, match="no setting"):
        closest(huge, configurations("ultra96"), 1, 1)

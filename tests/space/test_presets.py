"""The ready spaces: their sizes, and that what they hold can be built, costs what it should and is reached."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from math import prod

import pytest
import torch

from archfront.hw_profiles.cost import cost
from archfront.space.architecture import Architecture
from archfront.space.domains import children
from archfront.space.network import Network
from archfront.space.presets import MIXERS, PRESETS, Preset, entry_stride
from archfront.space.spec import Mixer, Spec
from archfront.space.types import Feature, Image, Scores

presets = pytest.mark.parametrize("preset", PRESETS.values(), ids=list(PRESETS))

SIZES = {
    # choices of the stem, then for each stage its widths, its greatest depth and the choices of one block
    "micro": (1, (2, 2, 8), (2, 3, 8), (2, 3, 8 + 3)),
    "mobile": (2, (1, 1, 1), (3, 3, 18), (3, 3, 18), (3, 4, 18), (3, 3, 18)),
    "hybrid": (2, (2, 2, 8), (2, 3, 8), (2, 4, 8 + 4), (2, 2, 8 + 4)),
    "large_kernel": (2, (3, 2, 12), (3, 3, 12), (3, 4, 5 * 4 + 4), (3, 2, 5 * 4 + 4)),
    "metaformer": (27, (2, 2, 2), (2, 2, 2), (2, 4, 2), (2, 2, 2)),
}
COSTS = {
    # millions of parameters and of multiply-adds of one 32x32 image, from and to
    "micro": (0.02, 0.7, 2, 25),
    "mobile": (0.2, 4, 10, 150),
    "hybrid": (0.3, 4, 8, 60),
    "large_kernel": (0.3, 8, 10, 120),
    "metaformer": (0.3, 8, 10, 200),
    "isotropic": (0.1, 6, 5, 400),
    "cells": (0.05, 1.5, 3, 50),
    "hytra": (0.03, 6, 3, 300),
}


def specs(value: object) -> Iterator[Spec]:
    """Every spec inside `value`."""
    if isinstance(value, Spec):
        yield value
    for child in children(value):
        yield from specs(child)


@pytest.mark.parametrize("name", SIZES)
def test_the_size_is_the_product_over_the_stages_of_the_choices_at_every_depth(name: str) -> None:
    stem, *stages = SIZES[name]
    expected = stem * prod(widths * sum(block**n for n in range(1, depth + 1)) for widths, depth, block in stages)  # type: ignore[misc]
    assert PRESETS[name].make(Image(3, 32, 32), 10).size == expected


def test_the_isotropic_space_has_one_width_for_all_blocks() -> None:
    space = PRESETS["isotropic"].make(Image(3, 32, 32), 10)
    assert space.size == 4 * sum((6 * 3) ** n for n in range(3, 9))
    for seed in range(5):
        assert len({part.input.channels for part in space.sample(seed).parts[1:]}) == 1  # type: ignore[attr-defined]


def test_the_cells_are_those_that_read_the_cell_before_them() -> None:
    operators, nodes = 8, range(2, 6)
    cells = prod((states * operators) ** 2 for states in nodes)
    cells -= prod(((states - 1) * operators) ** 2 for states in nodes)
    assert PRESETS["cells"].make(Image(3, 32, 32), 10).size == 2 * cells**2


def test_the_fabric_holds_every_path_over_its_scales() -> None:
    def paths(layers: int, scale: int) -> int:
        """Ways through this many more layers; attention is open to the two coarsest of four scales."""
        if not layers:
            return 1
        return sum((2 if to >= 2 else 1) * paths(layers - 1, to) for to in (scale, scale + 1) if to < 4)

    assert PRESETS["hytra"].make(Image(3, 32, 32), 10).size == sum(
        paths(sum(depths), 0) for depths in product(range(2, 5), repeat=4)
    )


@presets
def test_a_preset_says_what_it_is_for(preset: Preset) -> None:
    assert preset.purpose
    assert preset.make.__doc__


@presets
@pytest.mark.parametrize("size", [(8, 8), (28, 28), (32, 32), (64, 48), (224, 224)])
def test_every_part_of_it_can_be_set_up_for_small_and_large_images(preset: Preset, size: tuple[int, int]) -> None:
    space = preset.make(Image(3, *size), 10)
    assert len({(part.spec, part.input) for part in space.parts()}) < 2000
    assert space.sample(0).output == Scores(10)


@presets
@pytest.mark.parametrize("side", [32, 64])
def test_its_networks_train(preset: Preset, side: int) -> None:
    torch.manual_seed(0)
    space = preset.make(Image(3, side, side), 7)
    for seed in range(2):
        architecture = space.sample(seed)
        module = architecture.build()
        scores = module(*architecture.input.example(2))
        torch.nn.functional.cross_entropy(scores, torch.tensor([1, 4])).backward()
        assert scores.shape == (2, 7)
        assert all(p.grad is not None and p.grad.isfinite().all() for p in module.parameters())


@presets
def test_its_networks_cost_what_its_purpose_asks_for(preset: Preset) -> None:
    space = preset.make(Image(3, 32, 32), 10)
    params, most_params, macs, most_macs = COSTS[preset.name]
    for seed in range(5):
        found = cost(space.sample(seed))
        assert params < found.params / 1e6 < most_params
        assert macs < found.macs / 1e6 < most_macs


@presets
def test_every_kind_of_block_in_it_is_drawn(preset: Preset) -> None:
    space = preset.make(Image(3, 32, 32), 10)
    missing = {type(spec) for spec in specs(space.network)}
    for seed in range(400):
        missing -= {type(spec) for spec in specs(space.sample(seed).network)}
        if not missing:
            break
    assert not missing


def test_all_blocks_of_a_metaformer_have_the_same_mixer() -> None:
    space = PRESETS["metaformer"].make(Image(3, 32, 32), 10)
    drawn = set()
    for seed in range(400):
        (mixer,) = {block.mixer for stage in stages(space.sample(seed)) for block in stage.blocks}  # type: ignore[attr-defined]
        drawn.add(mixer)
    assert drawn == set(MIXERS)
    assert all(isinstance(mixer, Mixer) for mixer in drawn)


def stages(architecture: Architecture) -> tuple[Spec, ...]:
    """The stages of a network."""
    assert isinstance(architecture.network, Network)
    return architecture.network.stages


@pytest.mark.parametrize(
    ("side", "final", "reductions", "stride"),
    [(8, 4, 2, 1), (32, 4, 2, 2), (64, 4, 2, 4), (224, 4, 2, 4), (32, 2, 3, 2), (224, 2, 3, 4), (64, 4, 3, 2)],
)
def test_the_stem_reduces_as_far_as_the_stages_leave_pixels(
    side: int, final: int, reductions: int, stride: int
) -> None:
    x = Feature(3, (side, side))
    assert entry_stride(x, final, reductions) == stride


@presets
def test_no_pixel_of_the_image_is_skipped_by_the_stem(preset: Preset) -> None:
    space = preset.make(Image(3, 224, 224), 10)
    part = space.sample(0).parts[0]
    module = part.spec.build(part.input).eval()
    (x,) = part.input.example(1, requires_grad=True)
    module[0](x).sum().backward()  # the convolution alone, so that no activation hides a pixel
    assert (x.grad.abs().sum(1) > 0).all()  # type: ignore[union-attr]

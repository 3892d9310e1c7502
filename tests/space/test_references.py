"""The first reference architectures against their published figures; those of later papers stand in references/."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from archfront.space.architecture import Architecture
from archfront.space.errors import SpecError
from archfront.space.references import reference, references
from archfront.space.types import Image, Scores

PRINTED = {
    # millions of parameters as printed in the paper or in the timm results table
    "resnet18": "11.69",
    "resnet34": "21.80",
    "resnet50": "25.56",
    "resnext50_32x4d": "25.03",
    "SE-ResNet-18": "11.78",
    "SE-ResNet-50 (stride on 3x3)": "28.09",
    "WRN-50-2-bottleneck": "68.88",
    "WRN-16-4": "2.7",
    "WRN-28-10": "36.5",
    "WRN-40-4": "8.9",
    "mobilenetv2_0.5": "1.97",
    "mobilenetv2_1.0": "3.50",
    "mobilenetv2_1.4": "6.11",
    "efficientnet_b0": "5.29",
    "poolformer_s12": "11.92",
    "poolformer_s24": "21.39",
}


def parameters(architecture: Architecture) -> int:
    with torch.device("meta"):
        return sum(p.numel() for p in architecture.build().parameters())


@pytest.mark.parametrize("name", PRINTED)
def test_the_parameters_are_the_published_ones_to_the_last_one(name: str) -> None:
    found = parameters(references[name].architecture())
    assert found == references[name].params
    digits = len(PRINTED[name].partition(".")[2])
    assert f"{found / 1e6:.{digits}f}" == PRINTED[name]


@pytest.mark.parametrize("name", [name for name in PRINTED if references[name].gmacs])
def test_the_multiply_adds_are_within_one_percent_of_the_published_ones(name: str) -> None:
    architecture = references[name].architecture()
    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
        architecture.build().eval()(*architecture.input.example())
    assert counter.get_total_flops() / 2e9 == pytest.approx(references[name].gmacs, rel=0.01)


@pytest.mark.parametrize(("depth", "factor"), [(16, 4), (28, 10), (40, 4)])
def test_the_parameters_of_wide_residual_networks_follow_from_their_definition(depth: int, factor: int) -> None:
    total, before = 3 * 16 * 9, 16
    for width in (16 * factor, 32 * factor, 64 * factor):
        for block in range((depth - 4) // 6):
            entry = before if block == 0 else width
            total += 2 * entry + entry * width * 9 + 2 * width + width * width * 9
            total += entry * width if entry != width else 0
        before = width
    total += 2 * before + before * 10 + 10
    assert parameters(reference(f"wrn_{depth}_{factor}").architecture()) == total


def test_squeeze_and_excitation_adds_two_layers_to_every_block_of_resnet50() -> None:
    blocks = {256: 3, 512: 4, 1024: 6, 2048: 3}
    added = sum(n * (2 * c * c // 16 + c // 16 + c) for c, n in blocks.items())
    assert (
        reference("SE-ResNet-50 (stride on 3x3)").params - reference("resnet50").params
        == added
        == pytest.approx(2.53e6, rel=2e-3)
    )


@pytest.mark.parametrize("name", PRINTED)
def test_references_run_on_other_images_and_classes_and_survive_json(name: str) -> None:
    small = references[name].architecture(Image(3, 64, 96), classes=7)
    assert small.output == Scores(7)
    assert Architecture.from_dict(small.to_dict()) == small
    with torch.device("meta"):
        assert small.build()(*small.input.example(2)).shape == (2, 7)


def test_a_misspelt_reference_names_the_nearest_one() -> None:
    with pytest.raises(SpecError, match="'resnet5'; did you mean 'resnet50'"):
        reference("resnet5")


def test_the_spelling_of_a_name_does_not_matter() -> None:
    assert reference("GHOSTNET_1.0x") is references["GhostNet-1.0x"]
    assert reference("ResNet-50") is references["resnet50"]

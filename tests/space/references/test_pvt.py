"""Pyramid vision transformers against published figures."""

from __future__ import annotations

import pytest
import torch

from archfront.space.architecture import Architecture
from archfront.space.references import references
from archfront.space.references.pvt_v1 import pyramid
from archfront.space.references.pvt_v2 import pvt_v2
from archfront.space.types import Feature, Image

from .figures import check


@pytest.mark.parametrize(
    ("name", "params", "gmacs"),
    [
        ("PVT-Tiny", "13.229", 1.93),
        ("PVT-Medium", "44.208", 6.66),
        ("PVTv2-B0", "3.667", 0.566),
        ("PVTv2-B1", "14.009", 2.108),
        ("PVTv2-B2", "25.363", 4.027),
        ("PVTv2-B2-Li", "22.554", 3.889),
    ],
)
def test_pvt_has_the_published_size_and_cost(name: str, params: str, gmacs: float) -> None:
    check(name, params, gmacs)


@pytest.mark.parametrize(
    ("depths", "expands", "params"),
    [
        ((3, 4, 18, 3), (8, 8, 4, 4), "45.24"),
        ((3, 8, 27, 3), (8, 8, 4, 4), "62.56"),
        ((3, 6, 40, 3), (4, 4, 4, 4), "81.96"),
    ],
)
def test_the_larger_networks_of_pvt_v2_have_their_published_sizes_too(
    depths: tuple[int, ...], expands: tuple[int, ...], params: str
) -> None:
    architecture = Architecture(Image(3, 224, 224), pvt_v2(depths, 1000, expands=expands))
    with torch.device("meta"):
        found = sum(p.numel() for p in architecture.build().parameters())
    assert f"{found / 1e6:.2f}" == params


def test_the_switches_of_version_2_make_pvt_its_successor() -> None:
    turned = pyramid(
        (2, 2, 2, 2), 1000, overlapping=True, positions=False, convolving=True, normalising=True, class_token=False
    )
    assert turned == references["PVTv2-B1"].network(1000)


@pytest.mark.parametrize("size", [(224, 224), (256, 192)])
@pytest.mark.parametrize("name", ["PVT-Tiny", "PVTv2-B0"])
def test_the_stages_work_at_strides_4_8_16_and_32(name: str, size: tuple[int, int]) -> None:
    architecture = references[name].architecture(Image(3, *size))
    stages = [part for part in architecture.network.parts(architecture.input) if part.path.startswith("stages")]
    outputs = [part.spec.output(part.input) for part in stages]
    expected = [(size[0] // s, size[1] // s) for s in (4, 8, 16, 32)]
    found = [y.size for y in outputs]
    if name == "PVT-Tiny":  # the last stage is a row of tokens behind the class token
        assert outputs[-1] == Feature(512, (1, 1 + expected[-1][0] * expected[-1][1]))
        found, expected = found[:-1], expected[:-1]
    assert found == expected


@pytest.mark.parametrize("size", [(160, 192), (224, 224), (223, 225)])
def test_pvt_v2_takes_any_image_with_the_same_parameters(size: tuple[int, int]) -> None:
    architecture = references["PVTv2-B0"].architecture(Image(3, *size))
    with torch.device("meta"):
        module = architecture.build()
        assert module(*architecture.input.example(2)).shape == (2, 1000)
    assert sum(p.numel() for p in module.parameters()) == references["PVTv2-B0"].params

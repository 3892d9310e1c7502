"""Next-ViT against published figures and its rule of stacking."""

from __future__ import annotations

import pytest
import torch

from archfront.space.architecture import Architecture
from archfront.space.library.block.next_vit import NextConv, NextTransformer
from archfront.space.references import references
from archfront.space.references.nextvit import nextvit
from archfront.space.types import Image

from .figures import check


@pytest.mark.parametrize(("name", "params", "gmacs"), [("Next-ViT-S", "31.76", 5.8), ("Next-ViT-L", "57.87", 10.8)])
def test_nextvit_has_the_published_size_and_cost(name: str, params: str, gmacs: float) -> None:
    check(name, params, gmacs)


def test_the_network_between_the_two_has_its_published_size_too() -> None:
    with torch.device("meta"):
        module = Architecture(Image(3, 224, 224), nextvit(4, 1000)).build()
    assert f"{sum(p.numel() for p in module.parameters()) / 1e6:.2f}" == "44.82"


def test_every_group_of_convolution_blocks_ends_in_exactly_one_transformer_block() -> None:
    kinds = "".join(
        {NextConv: "c", NextTransformer: "t"}.get(type(part.spec), "")
        for part in references["Next-ViT-S"].architecture().parts
    )
    assert kinds == "ccc" + "ccct" + "cccct" * 2 + "cct"

"""NASNet-A against published figures."""

from __future__ import annotations

import pytest

from archfront.space.references import reference, references
from archfront.space.types import Image, Scores

from .figures import check, size_and_cost


@pytest.mark.parametrize(
    ("name", "params", "gmacs"), [("NASNet-A (4 @ 1056)", "5.3", 0.564), ("NASNet-A (6 @ 4032)", "88.75", 23.8)]
)
def test_nasnet_has_the_published_size_and_cost(name: str, params: str, gmacs: float) -> None:
    check(name, params, gmacs)


def test_the_network_for_small_images_has_the_published_size() -> None:
    found, _ = size_and_cost("NASNet-A (6 @ 768)")
    assert found == references["NASNet-A (6 @ 768)"].params
    assert f"{found / 1e6:.1f}" == "3.3"


@pytest.mark.parametrize(("name", "channels"), [("NASNet-A (6 @ 768)", 768), ("NASNet-A (4 @ 1056)", 1056)])
def test_the_name_says_the_width_of_the_last_cell(name: str, channels: int) -> None:
    architecture = reference(name).architecture(Image(3, 64, 48), classes=7)
    assert architecture.parts[-1].input.shapes[0][0] == channels
    assert architecture.output == Scores(7)

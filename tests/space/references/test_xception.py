"""Xception networks against published figures."""

from __future__ import annotations

import pytest

from archfront.space.network import leaves
from archfront.space.references import references
from archfront.space.types import Feature

from .figures import check


@pytest.mark.parametrize(
    ("name", "params", "gmacs"),
    [("Xception", "22.856", 8.36), ("Xception-41 (aligned)", "26.97", 9.2), ("Xception-65 (aligned)", "39.916", 13.85)],
)
def test_xception_has_the_published_size_and_cost(name: str, params: str, gmacs: float) -> None:
    check(name, params, gmacs)


def test_maps_of_xception_shrink_as_in_the_paper() -> None:
    architecture = references["Xception"].architecture()
    sizes = [part.input.size[0] for part in leaves(architecture.network, architecture.input)]
    assert list(dict.fromkeys(sizes)) == [299, 147, 74, 37, 19, 10]
    last = architecture.parts[-1].input
    assert last == Feature(2048, (10, 10))

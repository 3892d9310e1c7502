"""UniFormer against published figures."""

from __future__ import annotations

import pytest

from .figures import check


@pytest.mark.parametrize(
    ("name", "params", "gmacs"),
    [
        ("UniFormer-S", "21.55", 3.63),
        ("UniFormer-B", "49.78", 8.25),
    ],
)
def test_uniformer_has_the_published_size_and_cost(name: str, params: str, gmacs: float) -> None:
    check(name, params, gmacs)

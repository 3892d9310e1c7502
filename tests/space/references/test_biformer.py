"""BiFormer networks against published figures."""

from __future__ import annotations

import pytest

from .figures import check


@pytest.mark.parametrize(
    ("name", "params", "gmacs"),
    [
        ("BiFormer-T", "13.14", 2.22),
        ("BiFormer-S", "25.54", 4.46),
        ("BiFormer-B", "56.8", 9.76),
        ("BiFormer-STL", "28.4", 4.6),
    ],
)
def test_biformer_has_the_published_size_and_cost(name: str, params: str, gmacs: float) -> None:
    check(name, params, gmacs)

"""MViTv2 networks against published figures."""

from __future__ import annotations

import pytest

from .figures import check


@pytest.mark.parametrize(
    ("name", "params", "gmacs"),
    [("MViTv2-T", "24.17", 4.7), ("MViTv2-S", "34.87", 7.0), ("MViTv2-B", "51.47", 10.16)],
)
def test_mvitv2_has_the_published_size_and_cost(name: str, params: str, gmacs: float) -> None:
    check(name, params, gmacs)

"""ParCNetV2 networks against published figures."""

from __future__ import annotations

import pytest

from .figures import check


@pytest.mark.parametrize(
    ("name", "params", "gmacs"),
    [("ParCNetV2-XT", "7.428", 1.55), ("ParCNetV2-T", "24.935", 4.27), ("ParCNetV2-S", "39.437", 7.78)],
)
def test_parcnetv2_has_the_published_size_and_cost(name: str, params: str, gmacs: float) -> None:
    check(name, params, gmacs)

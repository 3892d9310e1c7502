"""Res2Net networks against published figures."""

from __future__ import annotations

import pytest

from .figures import check


@pytest.mark.parametrize(
    ("name", "params", "gmacs"),
    [("Res2Net-50 26w4s", "25.699", 4.26), ("Res2Net-50 48w2s", "25.287", 4.16), ("Res2NeXt-50", "24.671", 4.17)],
)
def test_res2net_has_the_published_size_and_cost(name: str, params: str, gmacs: float) -> None:
    check(name, params, gmacs)

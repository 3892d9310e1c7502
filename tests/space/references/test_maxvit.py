"""MaxViT against published figures."""

from __future__ import annotations

import pytest

from .figures import check


@pytest.mark.parametrize(
    ("name", "params", "gmacs"),
    [
        ("MaxViT-T", "30.92", 5.55),
        ("maxvit_rmlp_pico_rw_256", "7.52", 1.82),
    ],
)
def test_maxvit_has_the_published_size_and_cost(name: str, params: str, gmacs: float) -> None:
    check(name, params, gmacs)

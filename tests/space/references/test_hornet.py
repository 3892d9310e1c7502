"""HorNet networks against published figures."""

from __future__ import annotations

import pytest

from .figures import check


@pytest.mark.parametrize(
    ("name", "params", "gmacs"),
    [("HorNet-T 7x7", "22.41", 3.97), ("HorNet-T GF", "22.992", 3.89), ("HorNet-S 7x7", "49.528", 8.81)],
)
def test_hornet_has_the_published_size_and_cost(name: str, params: str, gmacs: float) -> None:
    check(name, params, gmacs)

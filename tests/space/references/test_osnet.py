"""OSNet against published figures."""

from __future__ import annotations

import pytest

from .figures import check


@pytest.mark.parametrize(
    ("name", "params", "gmacs"),
    [
        ("OSNet x1.0", "2.17", 0.979),
        ("OSNet x0.75", "1.286", 0.572),
        ("OSNet x0.5", "0.63", 0.273),
        ("OSNet x0.25", "0.202", 0.082),
        ("OSNet x1.0 ImageNet", "2.683", 1.5),
    ],
)
def test_osnet_has_the_published_size_and_cost(name: str, params: str, gmacs: float) -> None:
    check(name, params, gmacs)

"""EMOv2 against published figures."""

from __future__ import annotations

import pytest

from .figures import check


@pytest.mark.parametrize(
    ("name", "params", "gmacs"),
    [
        ("EMOv2-1M", "1.461", 0.28),
        ("EMOv2-2M", "2.384", 0.481),
        ("EMOv2-5M", "5.126", 1.025),
    ],
)
def test_emo_v2_has_the_published_size_and_cost(name: str, params: str, gmacs: float) -> None:
    check(name, params, gmacs)

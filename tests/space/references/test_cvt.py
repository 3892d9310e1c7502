"""CvT networks against published figures."""

from __future__ import annotations

import pytest

from .figures import check


@pytest.mark.parametrize(
    ("name", "params", "gmacs"),
    [("CvT-13", "20.00", 4.57), ("CvT-21", "31.62", 7.18)],
)
def test_cvt_has_the_published_size_and_cost(name: str, params: str, gmacs: float) -> None:
    check(name, params, gmacs)

"""ConViT networks against published figures."""

from __future__ import annotations

import pytest

from .figures import check


@pytest.mark.parametrize(
    ("name", "params", "gmacs"),
    [("ConViT-Ti", "5.711", 1.25), ("ConViT-S", "27.78", 5.75)],
)
def test_convit_has_the_published_size_and_cost(name: str, params: str, gmacs: float) -> None:
    check(name, params, gmacs)

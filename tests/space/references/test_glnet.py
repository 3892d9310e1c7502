"""GLNet networks against published figures."""

from __future__ import annotations

import pytest

from .figures import check


@pytest.mark.parametrize(
    ("name", "params", "gmacs"),
    [("GLNet-4G", "27.00", 4.48), ("GLNet-9G", "60.01", 9.59), ("GLNet-STL", "30.3", 4.35)],
)
def test_glnet_has_the_published_size_and_cost(name: str, params: str, gmacs: float) -> None:
    check(name, params, gmacs)

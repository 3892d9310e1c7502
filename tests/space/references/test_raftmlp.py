"""RaftMLP networks against published figures."""

from __future__ import annotations

import pytest

from .figures import check


@pytest.mark.parametrize(
    ("name", "params", "gmacs"),
    [("RaftMLP-S", "9.87", 2.1), ("RaftMLP-L", "36.2", 6.5)],
)
def test_raftmlp_has_the_published_size_and_cost(name: str, params: str, gmacs: float) -> None:
    check(name, params, gmacs)

"""Inception-v4 and Inception-ResNet-v2 against published figures."""

from __future__ import annotations

import pytest

from .figures import check


@pytest.mark.parametrize(
    ("name", "params", "gmacs"),
    [
        ("Inception-v4", "42.68", 12.25),
        ("Inception-ResNet-v2", "55.84", 13.16),
    ],
)
def test_inception_has_the_published_size_and_cost(name: str, params: str, gmacs: float) -> None:
    check(name, params, gmacs)

"""GhostNetV2 against published figures."""

from __future__ import annotations

import pytest

from .figures import check


@pytest.mark.parametrize(
    ("name", "params", "gmacs"),
    [
        ("GhostNetV2 1.0x", "6.157", 0.167),
        ("GhostNetV2 1.6x", "12.393", 0.399),
    ],
)
def test_ghostnet_v2_has_the_published_size_and_cost(name: str, params: str, gmacs: float) -> None:
    check(name, params, gmacs)

"""The all-convolutional net against published figures."""

from __future__ import annotations

import pytest

from .figures import check


@pytest.mark.parametrize(
    ("name", "params", "gmacs"),
    [
        ("All-CNN-C", "1.37", 0.271),
        ("Strided-CNN-C", "0.955", 0.111),
    ],
)
def test_all_cnn_has_the_published_size_and_cost(name: str, params: str, gmacs: float) -> None:
    check(name, params, gmacs)

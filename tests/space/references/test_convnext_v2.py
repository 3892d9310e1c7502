"""ConvNeXt V2 against published figures."""

from __future__ import annotations

import pytest

from .figures import check


@pytest.mark.parametrize(
    ("name", "params", "gmacs"),
    [
        ("ConvNeXtV2-Atto", "3.708", 0.547),
        ("ConvNeXtV2-Femto", "5.233", 0.78),
        ("ConvNeXtV2-Pico", "9.066", 1.367),
        ("ConvNeXtV2-Nano", "15.624", 2.446),
        ("ConvNeXtV2-Tiny", "28.635", 4.456),
    ],
)
def test_convnext_v2_has_the_published_size_and_cost(name: str, params: str, gmacs: float) -> None:
    check(name, params, gmacs)

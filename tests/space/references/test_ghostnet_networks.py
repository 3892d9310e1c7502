"""GhostNet against published figures and against its definition."""

from __future__ import annotations

import pytest
import torch

from archfront.hw_profiles.cost import cost
from archfront.space.references import references

ROWS = [
    # kernel, hidden width, width, gate, stride
    (3, 16, 16, 0, 1), (3, 48, 24, 0, 2), (3, 72, 24, 0, 1), (5, 72, 40, 1, 2), (5, 120, 40, 1, 1), (3, 240, 80, 0, 2),
    (3, 200, 80, 0, 1), (3, 184, 80, 0, 1), (3, 184, 80, 0, 1), (3, 480, 112, 1, 1), (3, 672, 112, 1, 1),
    (5, 672, 160, 1, 2), (5, 960, 160, 0, 1), (5, 960, 160, 1, 1), (5, 960, 160, 0, 1), (5, 960, 160, 1, 1),
]  # fmt: skip


def divisible(width: float) -> int:
    """The authors' rounding to multiples of 4."""
    rounded = max(4, int(width + 2) // 4 * 4)
    return rounded + 4 if rounded < 0.9 * width else rounded


def counted(multiplier: float) -> int:
    """The parameters that follow from the table of the paper."""

    def ghost(before: int, after: int) -> int:
        m = -(-after // 2)
        return before * m + 2 * m + 9 * m + 2 * m

    before = divisible(16 * multiplier)
    total = 27 * before + 2 * before
    for kernel, hidden, width, gate, stride in ROWS:
        hidden, width = divisible(hidden * multiplier), divisible(width * multiplier)
        total += ghost(before, hidden) + ghost(hidden, width)
        total += hidden * kernel**2 + 2 * hidden if stride == 2 else 0
        inner = divisible(hidden / 4)
        total += 2 * hidden * inner + inner + hidden if gate else 0
        if stride == 2 or before != width:
            total += before * kernel**2 + 2 * before + before * width + 2 * width
        before = width
    last = divisible(960 * multiplier)
    return total + before * last + 2 * last + last * 1280 + 1280 + 1280 * 1000 + 1000


@pytest.mark.parametrize(
    ("name", "multiplier", "printed", "gmacs"),
    [
        ("GhostNet-0.5x", 0.5, "2.59", 0.042),
        ("GhostNet-1.0x", 1.0, "5.18", 0.141),
        ("GhostNet-1.3x", 1.3, "7.36", 0.227),
    ],
)
def test_ghostnet_has_the_published_size_and_cost(name: str, multiplier: float, printed: str, gmacs: float) -> None:
    reference = references[name]
    with torch.device("meta"):
        params = sum(p.numel() for p in reference.architecture().build().parameters())
    assert params == reference.params == counted(multiplier)
    assert f"{params / 1e6:.2f}" == printed
    assert cost(reference.architecture()).contractions / 1e9 == pytest.approx(gmacs, rel=0.01)

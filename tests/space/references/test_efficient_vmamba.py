"""EfficientVMamba, without the multiply-adds of the scans, against published figures."""

from __future__ import annotations

import pytest

from .figures import check, size_and_cost


@pytest.mark.parametrize(
    ("name", "params", "gmacs"),
    [
        ("EfficientVMamba-T", "6.49", 0.657),
        ("EfficientVMamba-S", "11.27", 1.143),
        ("EfficientVMamba-B", "33.72", 3.69),
    ],
)
def test_efficient_vmamba_has_the_published_size_and_cost(name: str, params: str, gmacs: float) -> None:
    check(name, params, gmacs)


@pytest.mark.parametrize(
    ("name", "width", "printed"),
    [("EfficientVMamba-T", 48, 0.8), ("EfficientVMamba-S", 64, 1.3), ("EfficientVMamba-B", 96, 4.0)],
)
def test_with_9_operations_a_step_channel_and_state_the_scans_make_up_the_printed_cost(
    name: str, width: int, printed: float
) -> None:
    scans = sum(2 * positions * 9 * 2 * channels * 16 for positions, channels in ((56**2, width), (28**2, 2 * width)))
    assert round(size_and_cost(name)[1] + scans / 1e9, 1) == pytest.approx(printed, abs=0.11)

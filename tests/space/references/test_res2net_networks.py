"""Res2Net networks against published figures."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from archfront.space.references import references


@pytest.mark.parametrize(
    ("name", "params", "gmacs"),
    [("Res2Net-50 26w4s", "25.699", 4.26), ("Res2Net-50 48w2s", "25.287", 4.16), ("Res2NeXt-50", "24.671", 4.17)],
)
def test_res2net_has_the_published_size_and_cost(name: str, params: str, gmacs: float) -> None:
    reference = references[name]
    architecture = reference.architecture()
    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
        module = architecture.build().eval()
        module(*architecture.input.example())
    found = sum(p.numel() for p in module.parameters())
    assert found == reference.params
    assert f"{found / 1e6:.3f}" == params
    assert counter.get_total_flops() / 2e9 == pytest.approx(gmacs, rel=0.01)

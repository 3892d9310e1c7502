"""What a reference architecture is held to: the figures that its paper or its authors' code publish."""

from __future__ import annotations

import torch
from torch.utils.flop_counter import FlopCounterMode

from archfront.space.references import references


def size_and_cost(name: str) -> tuple[int, float]:
    """Parameters and 10^9 multiply-adds of the convolutions and products of a reference, counted by torch itself."""
    architecture = references[name].architecture()
    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
        module = architecture.build().eval()
        module(*architecture.input.example())
    return sum(p.numel() for p in module.parameters()), counter.get_total_flops() / 2e9


def check(name: str, params: str, gmacs: float) -> None:
    """`params` are millions as printed; multiply-adds may differ by 1 %, what is registered not at all."""
    found, cost = size_and_cost(name)
    assert found == references[name].params
    assert f"{found / 1e6:.{len(params.partition('.')[2])}f}" == params
    assert abs(cost / gmacs - 1) < 0.01

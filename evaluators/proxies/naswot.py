"""NASWOT: how differently a network's activations switch for different images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from archfront.space.spec import Paper

from .proxy import Batch, proxy

PAPER = Paper("Neural Architecture Search without Training", "Mellor, Turner, Storkey & Crowley", 2021)

aten = torch.ops.aten
SWITCHES = {
    aten.relu, aten.relu_, aten.hardtanh, aten.hardtanh_, aten.leaky_relu, aten.leaky_relu_, aten.elu, aten.elu_, aten.gelu,
    aten.gelu_, aten.silu, aten.silu_, aten.hardswish, aten.hardswish_, aten.mish, aten.mish_, aten._prelu_kernel,
}  # fmt: skip
"""Activations that are about zero below zero and grow above it, ReLU6 (`hardtanh`) among them; no sigmoids."""


@proxy("naswot", "NASWOT", PAPER)
@torch.no_grad()
def naswot(network: nn.Module, batch: Batch) -> float:
    """log |det K|, K[i, j] being the number of activations that are on for both images i and j, or off for both.

    An activation is on where its input is positive. The paper looks at ReLU; here all of `SWITCHES` count. -inf where two
    images cannot be told apart, or there is no activation. Batch normalisation by the statistics of the batch.
    """
    with _Switches(len(batch.x)) as switches:
        network(batch.x)
    return float(torch.linalg.slogdet(switches.agreement).logabsdet)


class _Switches(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts, inside, for every two images of a batch, the activations that agree."""

    def __init__(self, images: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.agreement = torch.zeros(images, images, dtype=torch.float64)

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func.overloadpacket in SWITCHES:
            self._count(args[0])
        return func(*args, **(kwargs or {}))

    def _count(self, inputs: Tensor) -> None:
        on = (inputs > 0).reshape(len(self.agreement), -1).float()
        self.agreement += (on @ on.T + (1 - on) @ (1 - on).T).double().cpu()

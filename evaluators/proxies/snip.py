"""SNIP: connection sensitivity."""

from __future__ import annotations

import torch
from torch import nn

from archfront.space.spec import Paper

from .proxy import Batch, proxy, weights

PAPER = Paper("SNIP: Single-shot Network Pruning based on Connection Sensitivity", "Lee, Ajanthan & Torr", 2019)


@proxy("snip", "SNIP", PAPER)
def snip(network: nn.Module, batch: Batch) -> float:
    """The sum over all weights w of |w dL/dw|, summed over a network as Abdelfattah et al., 2021, do it.

    Batch normalisation by the statistics of the batch.
    """
    loss = batch.task.loss(network(batch.x), batch.y)
    found = weights(network)
    gradients = torch.autograd.grad(loss, found, allow_unused=True, materialize_grads=True)
    products = (weight.detach() * gradient for weight, gradient in zip(found, gradients, strict=True))
    return float(sum(product.abs().sum() for product in products))

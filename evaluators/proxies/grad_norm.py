"""Gradient norm."""

from __future__ import annotations

import torch
from torch import nn

from archfront.space.spec import Paper

from .proxy import Batch, proxy, weights

PAPER = Paper("Zero-Cost Proxies for Lightweight NAS", "Abdelfattah, Mehrotra, Dudziak & Lane", 2021)


@proxy("grad_norm", "Gradient norm", PAPER)
def grad_norm(network: nn.Module, batch: Batch) -> float:
    """The sum over weights W of the Euclidean norm of dL/dW; batch normalisation by the statistics of the batch."""
    loss = batch.task.loss(network(batch.x), batch.y)
    gradients = torch.autograd.grad(loss, weights(network), allow_unused=True, materialize_grads=True)
    return float(sum(gradient.norm() for gradient in gradients))

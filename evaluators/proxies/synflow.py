"""SynFlow: synaptic flow."""

from __future__ import annotations

import math

import torch
from torch import nn

from archfront.space.spec import Paper

from .proxy import Batch, proxy, weights, without_norms

PAPER = Paper(
    "Pruning Neural Networks without Any Data by Iteratively Conserving Synaptic Flow",
    "Tanaka, Kunin, Yamins & Ganguli",
    2020,
)


@proxy("synflow", "SynFlow (logarithm)", PAPER)
def synflow(network: nn.Module, batch: Batch) -> float:
    """The logarithm of the sum over all weights w of w dR/dw, with every parameter replaced by its absolute value.

    R is the sum of the outputs for an image of ones. Data are not looked at. Normalisations are left out (Abdelfattah et
    al., 2021, leave out batch normalisation; here all that would undo the scale of what flows), and it is computed in
    float64, because R is a product over layers. -inf where nothing flows.
    """
    network.double()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.abs_()
    found = weights(network)
    with without_norms(network):
        flow = network(torch.ones_like(batch.x[:1], dtype=torch.float64)).sum()
    gradients = torch.autograd.grad(flow, found, allow_unused=True, materialize_grads=True)
    products = (weight.detach() * gradient for weight, gradient in zip(found, gradients, strict=True))
    total = float(sum(product.sum() for product in products))
    return math.log(total) if total > 0 else -math.inf

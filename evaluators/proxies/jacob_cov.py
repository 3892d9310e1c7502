"""Jacobian covariance: how uncorrelated the local linear maps at different images are."""

from __future__ import annotations

import torch
from torch import nn

from archfront.space.spec import Paper

from .proxy import Batch, proxy

PAPER = Paper("Neural Architecture Search without Training, first version", "Mellor, Turner, Storkey & Crowley", 2020)

FLOOR = 1e-5


@proxy("jacob_cov", "Jacobian covariance", PAPER)
def jacob_cov(network: nn.Module, batch: Batch) -> float:
    """-sum_i (log(v_i + k) + 1 / (v_i + k)), k = 1e-5, v the eigenvalues of the correlation matrix of the rows of J.

    Row n of J is the gradient of the sum of all outputs with respect to the pixels of image n. Batch normalisation by
    the statistics of the batch. -inf where a row is constant, so that nothing correlates.
    """
    x = batch.x.detach().requires_grad_()
    rows = torch.autograd.grad(network(x).sum(), x)[0].flatten(1).double()
    correlation = torch.corrcoef(rows)
    if not bool(correlation.isfinite().all()):
        return -float("inf")
    values = torch.linalg.eigvalsh(correlation).clamp(min=0)
    return -float((torch.log(values + FLOOR) + 1 / (values + FLOOR)).sum())

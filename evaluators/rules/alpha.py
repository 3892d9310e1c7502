"""The sandwich rule with the adaptive alpha-divergence in place of the Kullback-Leibler divergence."""

from __future__ import annotations

import torch
from torch import Tensor

from archfront.space.spec import Paper

from ..store import SupernetError
from ..task import Classification
from .sandwich import Sandwich

LOW, HIGH, CLIP = -1.0, 1.0, 5.0
"""The two alphas of the paper, and where it clips the powers of probability ratios."""


class AlphaDivergence(Sandwich):
    """`Sandwich` with, image by image, the larger of two divergences between teacher and student.

    Alpha = 1 punishes a student that is sure where the teacher is not, alpha = -1 one that is not sure where the teacher
    is. For classification only.
    """

    name = "alpha_divergence"
    paper = Paper(
        "AlphaNet: Improved Training of Supernets with Alpha-Divergence", "Wang, Gong, Li, Liu & Chandra", 2021
    )

    def teacher_loss(self, outputs: Tensor, teacher: Tensor) -> Tensor:
        if not isinstance(self.task, Classification):
            raise SupernetError(f"rule {self.name!r} compares class probabilities; use 'sandwich' for this task")
        return adaptive_loss(outputs, teacher)


def adaptive_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """The mean over the batch of the larger divergence at alpha -1 and 1; logits (N, classes).

    Its value is the divergence, its gradient that of the paper, with clipped powers.
    """
    low, high = (_pair(student, teacher, alpha) for alpha in (LOW, HIGH))
    value, slope = (torch.where(low[0] > high[0], a, b).mean() for a, b in zip(low, high, strict=True))
    return slope + (value - slope).detach()


def _pair(student: Tensor, teacher: Tensor, alpha: float) -> tuple[Tensor, Tensor]:
    return alpha_divergence(student, teacher, alpha), surrogate(student, teacher, alpha)


@torch.no_grad()
def alpha_divergence(student: Tensor, teacher: Tensor, alpha: float, clip: float = CLIP) -> Tensor:
    """D_alpha(p || q) = (sum_i q_i (p_i / q_i)^alpha - 1) / (alpha (alpha - 1)) of each row of logits, (N,).

    p is the teacher's softmax, q the student's. KL(p || q) at alpha = 1, KL(q || p) at 0, which are the limits there.
    The powers are clipped at `clip` elsewhere.
    """
    p, q = teacher.log_softmax(-1), student.log_softmax(-1)
    if alpha == 1:
        return (p.exp() * (p - q)).sum(-1)
    if alpha == 0:
        return (q.exp() * (q - p)).sum(-1)
    return ((q.exp() * _power(p - q, alpha, clip)).sum(-1) - 1) / (alpha * (alpha - 1))


def surrogate(student: Tensor, teacher: Tensor, alpha: float, clip: float = CLIP) -> Tensor:
    """What has the gradient of the divergence, (N,): -sum_i q_i w_i log q_i, with w held fixed.

    w is (p_i / q_i)^alpha / alpha, clipped before the division, but for alpha = 1, where q_i w_i is p_i; at alpha = 0 it
    is log (p_i / q_i). Constants in w change nothing, because the gradient of sum_i q_i is 0.
    """
    p, q = teacher.detach().log_softmax(-1), student.log_softmax(-1)
    fixed = q.detach()
    if alpha == 1:
        weight = p.exp()
    elif alpha == 0:
        weight = fixed.exp() * (p - fixed)
    else:
        weight = fixed.exp() * _power(p - fixed, alpha, clip) / alpha
    return -(weight * q).sum(-1)


def _power(log_ratio: Tensor, alpha: float, clip: float) -> Tensor:
    return (alpha * log_ratio).exp().clamp(max=clip)

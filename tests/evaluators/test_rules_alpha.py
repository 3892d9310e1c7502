"""The alpha-divergence against its definition, its limits, and the gradient that autograd gives without clipping."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from archfront.evaluators.rules.alpha import CLIP, AlphaDivergence, adaptive_loss, alpha_divergence, surrogate
from archfront.evaluators.store import SupernetError
from archfront.evaluators.supernet import Supernet
from archfront.evaluators.task import Tally, Task
from archfront.space import Space

FREE = 1e30
"""A clip that nothing reaches."""


def logits() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    student, teacher = torch.randn(2, 6, 5, generator=generator, dtype=torch.float64)
    return student.requires_grad_(), teacher


def by_definition(student: Tensor, teacher: Tensor, alpha: float) -> Tensor:
    p, q = teacher.softmax(-1), student.softmax(-1)
    return ((p**alpha * q ** (1 - alpha)).sum(-1) - 1) / (alpha * (alpha - 1))


@pytest.mark.parametrize("alpha", [-1.0, 0.5, 2.0])
def test_value_and_gradient_follow_the_definition(alpha: float) -> None:
    student, teacher = logits()
    expected = by_definition(student, teacher, alpha)
    torch.testing.assert_close(alpha_divergence(student, teacher, alpha, FREE), expected.detach())
    found = torch.autograd.grad(surrogate(student, teacher, alpha, FREE).sum(), student)[0]
    torch.testing.assert_close(found, torch.autograd.grad(expected.sum(), student)[0])


@pytest.mark.parametrize(("alpha", "forward"), [(1.0, True), (0.0, False)])
def test_the_limits_are_the_two_kullback_leibler_divergences(alpha: float, forward: bool) -> None:
    student, teacher = logits()
    p, q = teacher.log_softmax(-1), student.log_softmax(-1)
    divergence = (
        F.kl_div(q, p, reduction="none", log_target=True)
        if forward
        else F.kl_div(p, q, reduction="none", log_target=True)
    )
    expected = divergence.sum(-1)
    torch.testing.assert_close(alpha_divergence(student, teacher, alpha), expected.detach())
    near = by_definition(student, teacher, alpha + 1e-6)
    torch.testing.assert_close(near, expected, rtol=1e-4, atol=1e-5)
    found = torch.autograd.grad(surrogate(student, teacher, alpha).sum(), student)[0]
    torch.testing.assert_close(found, torch.autograd.grad(expected.sum(), student)[0])


def test_it_is_zero_for_equal_answers_and_positive_otherwise() -> None:
    student, teacher = logits()
    for alpha in (-1.0, 0.0, 0.5, 1.0, 2.0):
        assert float(alpha_divergence(teacher, teacher, alpha).abs().max()) < 1e-12
        assert float(alpha_divergence(student, teacher, alpha, FREE).min()) > 0


def test_powers_are_clipped() -> None:
    teacher = torch.tensor([[0.0, -20.0]], dtype=torch.float64)
    student = torch.tensor([[0.0, 0.0]], dtype=torch.float64, requires_grad=True)
    # at alpha -1 the ratios are 0.5 and e^20 / 2; the second is clipped
    p = teacher.softmax(-1)
    expected = (0.5 * (0.5 / p[0, 0]) + 0.5 * CLIP - 1) / 2
    torch.testing.assert_close(alpha_divergence(student, teacher, -1.0)[0], expected)
    gradient = torch.autograd.grad(surrogate(student, teacher, -1.0).sum(), student)[0]
    assert float(gradient.abs().max()) < CLIP


def test_the_adaptive_loss_takes_the_larger_divergence_of_each_image() -> None:
    sure, unsure = [8.0, 0.0, 0.0], [0.5, 0.0, 0.0]
    teacher = torch.tensor([sure, unsure])
    student = torch.tensor([unsure, sure], requires_grad=True)
    low, high = alpha_divergence(student, teacher, -1.0), alpha_divergence(student, teacher, 1.0)
    assert bool(low[0] > high[0])
    assert bool(low[1] < high[1])
    loss = adaptive_loss(student, teacher)
    torch.testing.assert_close(loss.detach(), (low[0] + high[1]) / 2)
    found = torch.autograd.grad(loss, student)[0]
    parts = surrogate(student, teacher, -1.0)[0] + surrogate(student, teacher, 1.0)[1]
    torch.testing.assert_close(found, torch.autograd.grad(parts / 2, student)[0])


def test_a_task_without_class_probabilities_is_refused(elastic: Space) -> None:
    class Regression(Task):
        target = metric = property(lambda self: None)  # type: ignore[assignment]

        def tally(self) -> Tally:
            raise NotImplementedError

        def loss(self, outputs: Tensor, targets: Tensor, label_smoothing: float = 0.0) -> Tensor:
            return F.mse_loss(outputs, targets)

        def distillation_loss(self, student: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
            return F.mse_loss(student, teacher)

    rule = AlphaDivergence(Supernet(elastic), Regression(), 1)
    with pytest.raises(SupernetError, match="class probabilities"):
        rule.teacher_loss(torch.zeros(1, 2), torch.zeros(1, 2))

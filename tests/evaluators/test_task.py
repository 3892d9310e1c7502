"""Classification: loss, distillation, accuracy and its interval."""

from __future__ import annotations

import math

import pytest
import torch

from archfront.evaluators.task import Classification, NonFiniteError, wilson_interval
from archfront.space.errors import ArchfrontError, ShapeError
from archfront.space.types import Feature, Scores


def logits(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def test_a_network_for_another_number_of_classes_is_refused_with_advice() -> None:
    Classification(7).check(Scores(7))
    with pytest.raises(ShapeError, match=r"yields 10 scores, the task needs 7 scores.*classes=7"):
        Classification(7).check(Scores(10))
    with pytest.raises(ShapeError, match=r"yields 8x4x4.*classifier"):
        Classification(7).check(Feature(8, (4, 4)))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_is_the_mean_cross_entropy_with_smoothed_targets(smoothing: float) -> None:
    outputs, targets = logits(6, 4), torch.tensor([0, 1, 2, 3, 0, 1])
    total = 0.0
    for row, target in zip(outputs.tolist(), targets.tolist(), strict=True):
        norm = math.log(sum(math.exp(v) for v in row))
        shares = [(1 - smoothing) * (i == target) + smoothing / 4 for i in range(4)]
        total -= sum(share * (value - norm) for share, value in zip(shares, row, strict=True))
    assert float(Classification(4).loss(outputs, targets, smoothing)) == pytest.approx(total / 6, rel=1e-5)


def test_the_loss_of_shares_is_the_mixture_of_the_losses() -> None:
    task, outputs = Classification(4), logits(6, 4)
    first, second = torch.tensor([0, 1, 2, 3, 0, 1]), torch.tensor([3, 3, 0, 1, 2, 2])
    shares = 0.3 * torch.eye(4)[first] + 0.7 * torch.eye(4)[second]
    expected = 0.3 * task.loss(outputs, first) + 0.7 * task.loss(outputs, second)
    torch.testing.assert_close(task.loss(outputs, shares), expected)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_distillation_is_the_divergence_from_the_teacher_and_moves_only_the_student(temperature: float) -> None:
    student, teacher = logits(5, 3).requires_grad_(), (logits(5, 3) * 2 + 1).requires_grad_()
    loss = Classification(3).distillation_loss(student, teacher, temperature)
    p, q = ((x / temperature).softmax(1) for x in (teacher, student))
    expected = float((p * (p / q).log()).sum(1).mean().detach()) * temperature**2
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-4)
    loss.backward()  # type: ignore[no-untyped-call]
    assert teacher.grad is None
    assert student.grad is not None
    assert float(Classification(3).distillation_loss(teacher, teacher).detach()) == pytest.approx(0, abs=1e-6)


def test_accuracy_over_batches_is_that_of_the_whole() -> None:
    outputs, targets = logits(103, 5), torch.arange(103) % 5
    tally = Classification(5).tally()
    for start in range(0, 103, 10):
        tally.add(outputs[start : start + 10], targets[start : start + 10])
    found = tally.measurement()
    assert found.value == sum(int(row.argmax()) == int(t) for row, t in zip(outputs, targets, strict=True)) / 103
    assert (found.provenance, found.samples) == ("measured", 103)
    assert Classification(5).metric.name == "accuracy"
    assert Classification(5).metric.better(0.9, 0.8)


def test_the_interval_solves_wilsons_equation() -> None:
    z = 1.959964
    for successes, trials in ((0, 10), (3, 10), (88, 100), (10, 10), (9_400, 10_000)):
        for bound in wilson_interval(successes, trials):
            assert (successes / trials - bound) ** 2 == pytest.approx(z**2 * bound * (1 - bound) / trials, abs=1e-12)


def test_the_spread_covers_the_interval_and_is_not_zero_when_all_is_right() -> None:
    tally = Classification(2).tally()
    tally.add(torch.eye(2)[torch.zeros(100, dtype=torch.int64)], torch.zeros(100, dtype=torch.int64))
    found = tally.measurement()
    assert found.value == 1
    assert found.spread == pytest.approx(1 - 100 / (100 + 1.959964**2))  # n / (n + z^2) is the lower bound at p = 1


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_diverged_outputs_are_an_error_and_not_a_low_accuracy(value: float) -> None:
    outputs = logits(4, 3)
    outputs[2, 1] = value
    with pytest.raises(NonFiniteError, match="diverged"):
        Classification(3).tally().add(outputs, torch.zeros(4, dtype=torch.int64))


def test_an_empty_tally_measures_nothing() -> None:
    with pytest.raises(ArchfrontError, match="no image"):
        Classification(3).tally().measurement()

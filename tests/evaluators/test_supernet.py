"""Candidates: exact copies when extracted, statistics of their own, sandwich steps that repeat."""

from __future__ import annotations

import random

import pytest
import torch

from archfront.evaluators.accuracy import SupernetAccuracy
from archfront.evaluators.data import Dataset
from archfront.evaluators.rules import extreme
from archfront.evaluators.rules.sandwich import Sandwich
from archfront.evaluators.store import SupernetError
from archfront.evaluators.supernet import Supernet
from archfront.evaluators.task import Classification
from archfront.space import Network, Space, Stage
from archfront.space.library.block.mbconv import MBConv
from archfront.space.library.head.classifier import Classifier
from archfront.space.library.stem.convolution import ConvStem


def test_rating_a_candidate_does_not_depend_on_who_was_rated_before(elastic: Space, digits: Dataset) -> None:
    rating = SupernetAccuracy(Supernet(elastic), digits, Classification(10), calibration_images=64)
    a, b = elastic.sample(0), elastic.sample(1)
    first = rating.evaluate(a)
    rating.evaluate(b)
    assert rating.evaluate(a) == first


def test_statistics_are_the_average_over_the_calibration_batches(elastic: Space) -> None:
    supernet = Supernet(elastic)
    batches = [torch.randn(16, 1, 8, 8) + i for i in range(3)]
    module = supernet.extract(elastic.sample(0), batches)
    stem = module.stem
    conv, norm = (
        next(m for m in stem.modules() if isinstance(m, torch.nn.Conv2d)),
        next(m for m in stem.modules() if isinstance(m, torch.nn.BatchNorm2d)),
    )
    with torch.no_grad():
        means = torch.stack([conv(batch).mean(dim=(0, 2, 3)) for batch in batches])
    torch.testing.assert_close(norm.running_mean, means.mean(dim=0))


def test_an_architecture_of_another_space_is_refused(elastic: Space) -> None:
    other = Space(
        elastic.input,
        Network(
            stem=ConvStem(width=64, stride=1),
            stages=(Stage(width=16, block=MBConv(expand=2.0)),),
            head=Classifier(classes=10),
        ),
    )
    with pytest.raises(SupernetError, match="made for another space"):
        Supernet(elastic).candidate(other.sample(0))


def test_largest_and_smallest_take_the_ends_of_every_ordered_site(elastic: Space) -> None:
    rng = random.Random(0)
    large, small = (elastic.choices(extreme(elastic, end, rng)) for end in ("largest", "smallest"))
    for site, label in large.items():
        domain = elastic.sites[site].domain
        if domain.ordered:
            assert label == domain.labels[-1]
    for site, label in small.items():
        domain = elastic.sites[site].domain
        if domain.ordered:
            assert label == domain.labels[0]


def test_a_sandwich_step_is_the_sum_of_the_four_losses_by_hand(elastic: Space, digits: Dataset) -> None:
    x, y = torch.randn(8, 1, 8, 8), torch.arange(8)
    task = Classification(10)
    step = Sandwich(Supernet(elastic), task, 10, label_smoothing=0.1, randoms=2, seed=3)
    step(x, y, step=5)
    rng = random.Random(3 * 1_000_003 + 5)
    supernet = Supernet(elastic)
    teacher = supernet.candidate(extreme(elastic, "largest", rng)).train()(x)
    loss = torch.nn.functional.cross_entropy(teacher, y, label_smoothing=0.1)
    for architecture in (extreme(elastic, "smallest", rng), *(elastic.sample(rng, over="sites") for _ in range(2))):
        student = supernet.candidate(architecture).train()(x)
        target = teacher.detach().softmax(dim=1)
        loss = loss + (target * (target.log() - student.log_softmax(dim=1))).sum(dim=1).mean()
    loss.backward()
    for name, parameter in supernet.store.parameters.items():
        found = step.supernet.store.parameters[name].grad
        assert (found is None) == (parameter.grad is None), name
        if found is not None:
            torch.testing.assert_close(found, parameter.grad, rtol=1e-4, atol=1e-6)

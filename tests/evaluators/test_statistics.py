"""Batch statistics are a candidate's own, views are built once, and images go to the device once."""

from __future__ import annotations

import random

import pytest
import torch

from archfront.evaluators.accuracy import SupernetAccuracy, score
from archfront.evaluators.data import Dataset
from archfront.evaluators.supernet import Supernet
from archfront.evaluators.task import Classification
from archfront.hw_profiles.metrics import Measurement
from archfront.space import Space
from archfront.space.architecture import Architecture


def buffers(supernet: Supernet, architecture: Architecture) -> dict[str, torch.Tensor]:
    return {name: b.clone() for name, b in supernet.candidate(architecture).module.named_buffers()}


def test_recalibration_forgets_what_training_and_other_candidates_left(elastic: Space) -> None:
    supernet = Supernet(elastic)
    batches = [torch.randn(16, 1, 8, 8) for _ in range(3)]
    architecture = elastic.sample(0)
    supernet.candidate(architecture).calibrate(batches)
    expected = buffers(supernet, architecture)
    for seed in range(6):
        supernet.candidate(elastic.sample(seed)).train()(torch.randn(16, 1, 8, 8) * 100)
        supernet.candidate(elastic.sample(seed)).calibrate([torch.randn(16, 1, 8, 8) * 100])
    supernet.candidate(architecture).calibrate(batches)
    found = buffers(supernet, architecture)
    assert all(torch.equal(found[name], value) for name, value in expected.items())


def test_ratings_do_not_depend_on_their_order(elastic: Space, digits: Dataset) -> None:
    architectures = [elastic.sample(seed) for seed in range(8)]

    def rated(order: list[Architecture]) -> dict[Architecture, Measurement]:
        rating = SupernetAccuracy(Supernet(elastic), digits, Classification(10), calibration_images=64)
        return {a: rating.evaluate(a)["supernet_accuracy"] for a in order}

    assert rated(architectures) == rated(random.Random(0).sample(architectures, 8))


def test_a_rating_is_the_score_and_the_cross_entropy_of_all_validation_images(elastic: Space, digits: Dataset) -> None:
    rating = SupernetAccuracy(Supernet(elastic), digits, Classification(10), calibration_images=64)
    found = rating.evaluate(elastic.sample(1))
    candidate = rating.supernet.candidate(elastic.sample(1)).calibrate(rating.calibration)
    split = digits.validation
    assert found["supernet_accuracy"] == score(candidate, split, Classification(10))
    with torch.no_grad():
        outputs = candidate(split.normalise(split.images))
    expected = -outputs.log_softmax(-1)[torch.arange(len(split)), split.labels].mean()
    assert found["supernet_loss"].value == pytest.approx(float(expected), rel=1e-5)
    assert len(split) % 256  # the last batch is smaller than the others


def test_calibration_and_scoring_leave_the_weights_alone(elastic: Space, digits: Dataset) -> None:
    supernet = Supernet(elastic)
    before = {name: value.clone() for name, value in supernet.store.state_dict().items()}
    SupernetAccuracy(supernet, digits, Classification(10), 64).evaluate(elastic.sample(0))
    assert all(torch.equal(value, supernet.store.parameters[name]) for name, value in before.items())


def test_a_part_is_built_once_however_many_candidates_have_it(elastic: Space, monkeypatch: pytest.MonkeyPatch) -> None:
    built = []
    original = Supernet._build_part

    def counting(self: Supernet, part: object) -> torch.nn.Module:
        built.append(part)
        return original(self, part)  # type: ignore[arg-type]

    monkeypatch.setattr(Supernet, "_build_part", counting)
    supernet = Supernet(elastic)
    architectures = [elastic.sample(seed) for seed in range(20)]
    for architecture in [*architectures, *architectures]:
        supernet.candidate(architecture)
    assert len(built) == len({part for architecture in architectures for part in architecture.parts})


def test_images_are_put_on_the_device_once(elastic: Space, digits: Dataset) -> None:
    rating = SupernetAccuracy(Supernet(elastic), digits, Classification(10), calibration_images=64)
    calibration, validation = rating.calibration, rating.validation
    rating.evaluate(elastic.sample(0))
    assert rating.calibration is calibration
    assert rating.validation is validation
    assert sum(map(len, calibration)) == 64

"""Tuned ratings: from the shared weights, which stay; the same whoever was rated before; equal to training by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from archfront.evaluators.accuracy import SupernetAccuracy, fine_tune, score
from archfront.evaluators.data import Dataset
from archfront.evaluators.supernet import Supernet
from archfront.evaluators.task import Classification
from archfront.evaluators.train import Recipe
from archfront.evaluators.tuned import TunedAccuracy
from archfront.space import Space

RECIPE = Recipe(epochs=1, batch_size=32)


@pytest.fixture
def rating(elastic: Space, digits: Dataset) -> TunedAccuracy:
    shared = SupernetAccuracy(Supernet(elastic), digits, Classification(10), calibration_images=64)
    return TunedAccuracy(shared, digits.train.take(torch.arange(128)), RECIPE)


def test_the_rating_is_the_accuracy_after_training_an_extracted_network(
    rating: TunedAccuracy, elastic: Space, digits: Dataset
) -> None:
    architecture = elastic.sample(0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = Supernet(elastic).extract(architecture)
        data = replace(digits, train=digits.train.take(torch.arange(128)))
        network = fine_tune(network, data, Classification(10), RECIPE)
    batches = rating.shared.calibration
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.reset_running_stats()
                module.momentum = 1 / len(batches)
        network.train()
        assert len(batches) == 1  # the average over one batch is that batch
        network(batches[0])
    assert rating.evaluate(architecture)["supernet_accuracy"] == score(
        network.eval(), digits.validation, Classification(10)
    )


def test_shared_weights_stay_and_ratings_do_not_depend_on_who_was_rated_before(
    rating: TunedAccuracy, elastic: Space
) -> None:
    before = {name: value.clone() for name, value in rating.shared.supernet.store.state_dict().items()}
    first = rating.evaluate(elastic.sample(0))
    rating.evaluate(elastic.sample(1))
    assert rating.evaluate(elastic.sample(0)) == first
    state = rating.shared.supernet.store.state_dict()
    assert all(torch.equal(state[name], value) for name, value in before.items())


def test_training_on_more_images_makes_ratings_better(rating: TunedAccuracy, elastic: Space) -> None:
    longer = replace(rating, recipe=RECIPE.model_copy(update={"epochs": 8}))
    ratings = [
        sum(evaluator.evaluate(elastic.sample(seed))["supernet_accuracy"].value for seed in range(3))
        for evaluator in (rating.shared, rating, longer)
    ]
    assert ratings == sorted(ratings)
    assert ratings[0] < ratings[-1]

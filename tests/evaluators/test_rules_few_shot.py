"""Splitting: the site where gradients disagree is found, architectures go to their store, stores drift apart."""

from __future__ import annotations

import random

import pytest
import torch

from archfront.evaluators.accuracy import SupernetAccuracy
from archfront.evaluators.data import Dataset
from archfront.evaluators.rules.few_shot import FewShot, Split, SplitSupernet, two_groups
from archfront.evaluators.task import Classification
from archfront.space import Space


def make(elastic: Space, steps: int = 4) -> FewShot:
    return FewShot(SplitSupernet(elastic), Classification(10), steps, seed=1)


def test_two_groups_are_founded_by_the_two_options_that_disagree_most() -> None:
    agreement = torch.tensor([
        [1.0, 0.9, -0.2, 0.1],
        [0.9, 1.0, 0.2, 0.3],
        [-0.2, 0.2, 1.0, 0.8],
        [0.1, 0.3, 0.8, 1.0],
    ])  # fmt: skip
    split = two_groups("here", agreement)
    assert split is not None
    assert split.second == (2, 3)
    assert split.agreement == pytest.approx((-0.2 + 0.1 + 0.2 + 0.3) / 4)
    assert two_groups("there", torch.full((2, 2), torch.nan)) is None


def test_an_architecture_takes_its_weights_from_the_store_of_its_option(elastic: Space, digits: Dataset) -> None:
    supernet = SplitSupernet(elastic)
    architecture = elastic.sample(0)
    assert supernet.store_of(architecture) is supernet.store
    supernet.divide(Split("stages[0].width", (1,), 0.0))
    with torch.no_grad():
        for value in supernet.second.parameters.values():
            value.mul_(0.5)
    for seed in range(12):
        architecture = elastic.sample(seed)
        store = supernet.second if elastic.choices(architecture)["stages[0].width"] == 24 else supernet.store
        assert supernet.store_of(architecture) is store
        part = architecture.parts[0]
        first = next(iter(store.views(part).values()))
        assert any(torch.equal(first, value) for value in supernet.candidate(architecture).parameters().values())
        name = next(name for name, _ in supernet.extract(architecture).named_parameters())
        extracted = dict(supernet.extract(architecture).named_parameters())[name]
        assert torch.equal(extracted, supernet.candidate(architecture).parameters()[name])
    rating = SupernetAccuracy(supernet, digits, Classification(10), calibration_images=32)
    assert 0 <= rating.evaluate(architecture)["supernet_accuracy"].value <= 1


def test_the_second_store_rests_until_the_split_and_then_starts_from_the_first(elastic: Space) -> None:
    rule = make(elastic)
    x, y = torch.randn(8, 1, 8, 8), torch.arange(8)
    rule(x, y, 0)
    assert int(rule.buffers["split"][0]) == -1
    assert all(value.grad is None for value in rule.supernet.second.parameters.values())
    with torch.no_grad():
        for value in rule.supernet.store.parameters.values():
            value.add_(0.01)
    rule(x, y, 2)
    assert int(rule.buffers["split"][0]) >= 0
    for name, value in rule.supernet.store.parameters.items():
        assert torch.equal(value, rule.supernet.second.parameters[name])


def test_agreement_is_the_cosine_of_gradients_taken_one_by_one(elastic: Space) -> None:
    rule = make(elastic)
    x, y = torch.randn(8, 1, 8, 8), torch.arange(8)
    site = "stages[0].width"
    found = rule.agreement(site, x, y, random.Random(5))
    rng, cosines = random.Random(5), []
    for _ in range(2):
        gradients = []
        for option, architecture in rule.variants(site, 2, rng):
            assert elastic.assignment(architecture)[site] == option
            for value in rule.parameters.values():
                value.grad = None
            rule.learn(architecture, x, lambda outputs: rule.label_loss(outputs, y))
            stored = rule.supernet.store.parameters.values()
            gradients.append(torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in stored]))
        a, b = gradients
        cosines.append(float(a @ b / a.norm() / b.norm()))
    assert float(found[0, 1]) == pytest.approx(sum(cosines) / 2, rel=1e-4)
    assert found[0, 1] == found[1, 0]

"""Block-wise training without labels: blocks in turn, moving averages and losses by hand, ratings that repeat."""

from __future__ import annotations

import math
import pickle
import random
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import nn

from archfront.evaluators.block_agreement import BlockAgreement
from archfront.evaluators.data import Dataset
from archfront.evaluators.layout import part_layouts
from archfront.evaluators.rules.bootstrapping import MOMENTUM, PATHS, SIZE, Bootstrapping, block_of
from archfront.evaluators.supernet import Supernet
from archfront.evaluators.task import Classification
from archfront.evaluators.train import Recipe, Training
from archfront.hw_profiles.cost import cost, part_cost
from archfront.space import Block, Feature, Network, Space, Stage, one_of
from archfront.space.library.block.mbconv import MBConv
from archfront.space.library.head.classifier import Classifier
from archfront.space.library.stem.convolution import ConvStem
from archfront.space.limits import Bounds
from archfront.space.spec import Paper

STEPS = 8


def make(elastic: Space, steps: int = STEPS) -> Bootstrapping:
    return Bootstrapping(Supernet(elastic), Classification(10), steps, seed=1)


def training(elastic: Space, digits: Dataset, checkpoint: Path | None, epochs: int = 2) -> Training:
    split = digits.train.take(torch.arange(128))
    recipe = Recipe(epochs=epochs, batch_size=32)
    rule = make(elastic, recipe.steps(128))
    return Training(
        rule.parameters, rule, split, recipe, checkpoint=checkpoint, every_seconds=0.0, buffers=rule.buffers
    )


def batch() -> torch.Tensor:
    return torch.randn(16, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def test_labels_are_not_looked_at(elastic: Space) -> None:
    one, other = make(elastic), make(elastic)
    assert one(batch(), torch.zeros(16, dtype=torch.int64), 0) == other(batch(), torch.arange(16), 0)


def test_sites_belong_to_the_block_of_their_stage() -> None:
    assert [
        block_of(site, 3) for site in ("stem.width", "stages[0].depth", "stages[2].blocks[1].kernel", "tied", "head.x")
    ] == [0, 0, 2, 0, 2]


def test_a_step_trains_its_block_alone(elastic: Space) -> None:
    rule = make(elastic)
    rule(batch(), torch.zeros(16), 1)
    trained = {
        name.partition("/")[0].partition(".")[0]
        for name, p in rule.supernet.store.parameters.items()
        if p.grad is not None
    }
    assert trained == {"stem", "stages[0]"}
    for parameter in rule.parameters.values():
        parameter.grad = None
    rule(batch(), torch.zeros(16), 5)
    trained = {
        name.partition("/")[0].partition(".")[0]
        for name, p in rule.supernet.store.parameters.items()
        if p.grad is not None
    }
    assert trained == {"stages[1]"}
    assert all(p.grad is None for p in [*rule.target.store.parameters.values(), *rule.target_project.parameters()])


def test_the_blocks_before_are_settled_once_and_kept(elastic: Space) -> None:
    rule = make(elastic)
    rule(batch(), torch.zeros(16), 0)
    assert rule.prefix(1) == {}
    rule(batch(), torch.zeros(16), 4)
    chosen = rule.prefix(1)
    assert chosen
    assert all(block_of(site, 2) == 0 for site in chosen)
    rule(batch() * 3, torch.zeros(16), 6)
    assert rule.prefix(1) == chosen
    for seed in range(5):
        picks = elastic.assignment(rule.path(1, random.Random(seed)))
        assert {site: picks[site] for site in chosen} == chosen


def test_the_loss_is_that_of_the_paper_computed_path_by_path(elastic: Space) -> None:
    rule, x = make(elastic), batch()
    found = rule(x, torch.zeros(16), 2)
    again = make(elastic)
    rng = random.Random(1 * 1_000_003 + 2)
    views = again.views(x, rng)
    paths = [again.path(0, rng) for _ in range(PATHS)]
    supernet = again.supernet

    def features(path: object, view: torch.Tensor) -> torch.Tensor:
        module = supernet.extract(path).train()  # type: ignore[arg-type]
        return module.stages[0](module.stem(view)).mean((2, 3))  # type: ignore[operator,index]

    with torch.no_grad():
        said = []
        for view in views:
            vectors = [again.project[0](features(path, view)) for path in paths]
            said.append(sum(v / v.norm(dim=1, keepdim=True) for v in vectors) / PATHS)
        losses = []
        for path in paths:
            loss = 0.0
            for view, other in ((0, 1), (1, 0)):
                own = again.predict[0](again.project[0](features(path, views[view])))
                cosine = (own * said[other]).sum(1) / own.norm(dim=1) / said[other].norm(dim=1)
                loss += float((2 - 2 * cosine).mean())
            losses.append(loss)
    assert found == pytest.approx(sum(losses) / PATHS, rel=1e-4)


def test_the_average_follows_with_a_momentum_that_rises_to_one(elastic: Space) -> None:
    for progress, keep in ((0.0, MOMENTUM), (0.5, (1 + MOMENTUM) / 2), (1.0, 1.0)):
        rule = make(elastic)
        name = next(name for name in rule.supernet.store.parameters if name.startswith("stages[0]"))
        later = next(name for name in rule.supernet.store.parameters if name.startswith("stages[1]"))
        with torch.no_grad():
            for value in rule.supernet.store.parameters.values():
                value.add_(1.0)
        before = rule.target.store.parameters[name].detach().clone()
        rule.follow(0, progress)
        moved = rule.target.store.parameters[name] - before
        torch.testing.assert_close(moved, torch.full_like(moved, 1 - keep), rtol=1e-3, atol=1e-6)
        assert torch.equal(rule.target.store.parameters[later] + 1, rule.supernet.store.parameters[later])


def test_training_lowers_the_loss_of_the_first_block(elastic: Space, digits: Dataset) -> None:
    run = training(elastic, digits, None, epochs=10)
    losses: list[float] = []
    run.run(lambda done, total, loss: losses.append(loss))
    first = losses[: len(losses) // 2]
    assert sum(first[-4:]) < 0.9 * sum(first[:4])
    assert all(math.isfinite(loss) for loss in losses)


def test_ratings_repeat_and_are_distances_from_the_mean_of_all(elastic: Space, digits: Dataset) -> None:
    run = training(elastic, digits, None)
    run.run()
    rule = run.step_loss
    assert isinstance(rule, Bootstrapping)
    rating = BlockAgreement(rule, digits.validation, images=32, population=3, seed=4)
    architectures = [elastic.sample(seed) for seed in range(6)]
    first = [rating.evaluate(a)["block_agreement"].value for a in architectures]
    again = BlockAgreement(rule, digits.validation, images=32, population=3, seed=4)
    assert [again.evaluate(a)["block_agreement"].value for a in reversed(architectures)] == first[::-1]
    assert len(set(first)) > 1
    # the mean squared distance of the population from its own mean is its variance
    rng = random.Random(4)
    paths = [rule.path(0, rng) for _ in range(3)]
    said = torch.stack([rating._said(0, path) for path in paths])
    variance = said.flatten(0, 1).var(0, correction=0).sum(-1).mean()
    assert sum(rating.distance(0, path) for path in paths) / 3 == pytest.approx(float(variance), rel=1e-4)


def test_what_travels_rates_the_same_without_images_and_within_no_budget(elastic: Space, digits: Dataset) -> None:
    least = min(cost(elastic.sample(seed)).params for seed in range(60))
    bounds = Bounds(lambda spec, x: (float(part_cost(spec, x).params),), np.array([-np.inf]), np.array([2.0 * least]))
    free, tight = make(elastic), Bootstrapping(Supernet(elastic), Classification(10), STEPS, seed=1, bounds=bounds)
    ratings = [BlockAgreement(rule, digits.validation, images=32, population=3) for rule in (free, tight)]
    for rating in ratings:
        rating.__dict__["centres"] = [torch.zeros(32, SIZE)] * rating.rule.blocks  # only what is drawn for them differs
    travelled = pickle.loads(pickle.dumps(ratings[0]))  # noqa: S301 - what was just written
    assert len(travelled.split) == 0
    for seed in range(6):
        found = ratings[0].evaluate(elastic.sample(seed))
        assert travelled.evaluate(elastic.sample(seed)) == ratings[1].evaluate(elastic.sample(seed)) == found


class Noise(nn.Module):
    """The same noise whatever it is fed."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.randn(x.shape, generator=torch.Generator().manual_seed(0))


class DestroyedBlock(Block):
    """Noise."""

    paper: ClassVar[Paper] = Paper("none", "none", 2026)

    def output(self, x: Feature) -> Feature:
        return x

    def build(self, x: Feature) -> nn.Module:
        return Noise()


def test_an_operator_that_was_destroyed_is_rated_last_without_labels(digits: Dataset) -> None:
    block = one_of(MBConv(kernel=3, expand=2.0), MBConv(kernel=5, expand=2.0), DestroyedBlock())
    stage = Stage(width=16, block=block)
    space = Space(digits.input, Network(stem=ConvStem(width=16), stages=(stage,), head=Classifier(classes=10)))
    recipe = Recipe(epochs=10, batch_size=32)
    rule = Bootstrapping(Supernet(space), Classification(10), recipe.steps(len(digits.train)))
    Training(rule.parameters, rule, digits.train, recipe, buffers=rule.buffers).run()
    rating = BlockAgreement(rule, digits.validation, images=64)
    rated = {architecture: rating.evaluate(architecture)["block_agreement"].value for architecture in space}
    worst = min(rated, key=rated.__getitem__)
    assert "DestroyedBlock" in space.choices(worst).values()
    other = [value for architecture, value in rated.items() if architecture != worst]
    assert min(other) - rated[worst] > max(other) - min(other)


def test_paths_that_were_not_drawn_get_no_gradient(elastic: Space) -> None:
    rule = make(elastic)
    rule(batch(), torch.zeros(16), 6)
    rng = random.Random(1 * 1_000_003 + 6)
    again = make(elastic)
    views = again.views(batch(), rng)
    again.settle(0, views, rng)
    paths = [again.path(1, rng) for _ in range(PATHS)]
    drawn = {part for path in paths for part in path.parts if part.path.startswith("stages[1]")}
    name = again.supernet.store.name
    expected = {name(part, layout) for part in drawn for layout in part_layouts(part.spec, part.input)}
    found = {name for name, p in rule.supernet.store.parameters.items() if p.grad is not None}
    assert found == expected

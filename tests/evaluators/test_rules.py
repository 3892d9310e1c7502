"""Training rules: every one learns and resumes bit for bit; each keeps what its paper promises, counted or by hand."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from archfront.evaluators.data import Dataset
from archfront.evaluators.rules import RULES, rule_named
from archfront.evaluators.rules.attentive import POOL, Attentive, AttentiveBest, AttentiveWorst
from archfront.evaluators.rules.fair import Fair
from archfront.evaluators.rules.progressive import ProgressiveShrinking
from archfront.evaluators.rules.rule import Rule, Step
from archfront.evaluators.rules.single_path import SinglePath
from archfront.evaluators.store import SupernetError
from archfront.evaluators.supernet import Supernet
from archfront.evaluators.task import Classification
from archfront.evaluators.train import Recipe, Training
from archfront.hw_profiles.cost import cost, part_cost
from archfront.space import Network, Space, Stage, one_of
from archfront.space.library.block.mbconv import MBConv
from archfront.space.library.head.classifier import Classifier
from archfront.space.library.stem.convolution import ConvStem
from archfront.space.limits import Bounds

STEPS = 8


def make(name: str, space: Space, **options: int) -> Rule:
    rule = rule_named(name)
    return rule(rule.make_supernet(space), Classification(10), STEPS, **options)


def training(name: str, space: Space, digits: Dataset, checkpoint: Path | None) -> Training:
    rule = make(name, space, randoms=1)
    split = digits.train.take(torch.arange(128))
    recipe = Recipe(epochs=STEPS // 4, batch_size=32)
    return Training(
        rule.parameters, rule, split, recipe, checkpoint=checkpoint, every_seconds=0.0, buffers=rule.buffers
    )


class Stop(Exception):
    """An interruption."""


@pytest.mark.parametrize("name", RULES)
def test_a_run_repeats_bit_for_bit_wherever_it_is_interrupted(
    name: str, elastic: Space, digits: Dataset, tmp_path: Path
) -> None:
    whole = training(name, elastic, digits, None)
    whole.run()

    def stop(done: int, total: int, loss: float) -> None:
        if done in (3, 6):
            raise Stop

    for _ in range(2):
        with pytest.raises(Stop):
            training(name, elastic, digits, tmp_path / "last.safetensors").run(stop)
    part = training(name, elastic, digits, tmp_path / "last.safetensors")
    assert 0 < part.step < part.total
    part.run()
    done = training(name, elastic, digits, tmp_path / "last.safetensors")
    assert done.done
    for run in (part, done):
        assert all(torch.equal(run.parameters[key], value) for key, value in whole.parameters.items())
        assert all(torch.equal(run.buffers[key], value) for key, value in whole.buffers.items())


@pytest.mark.parametrize("name", RULES)
def test_training_changes_weights_and_leaves_them_finite(name: str, elastic: Space, digits: Dataset) -> None:
    run = training(name, elastic, digits, None)
    before = {key: value.detach().clone() for key, value in run.parameters.items()}
    run.run()
    assert any(not torch.equal(before[key], value) for key, value in run.parameters.items())
    assert all(bool(value.isfinite().all()) for value in run.parameters.values())


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_every_rule_names_its_paper(rule: type[Rule]) -> None:
    assert 2018 < rule.paper.year <= 2024
    assert rule.paper.title
    assert rule.__doc__


def test_an_unknown_rule_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(SupernetError, match="sandwich"):
        rule_named("sandwhich")


# --------------------------------------------------------------------------- single paths and fairness


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(8, 1, 8, 8, generator=generator), torch.arange(8)


def test_a_single_path_step_is_the_gradient_of_one_architecture(elastic: Space) -> None:
    x, y = batch()
    rule = make("single_path", elastic, seed=3)
    rule(x, y, 5)
    architecture = elastic.sample(random.Random(3 * 1_000_003 + 5), over="sites")
    supernet = Supernet(elastic)
    output = supernet.candidate(architecture).train()(x)
    torch.nn.functional.cross_entropy(output, y, label_smoothing=0.1).backward()  # type: ignore[no-untyped-call]
    for name, parameter in supernet.store.parameters.items():
        found = rule.supernet.store.parameters[name].grad
        assert (found is None) == (parameter.grad is None)
        assert found is None or torch.equal(found, parameter.grad)  # type: ignore[arg-type]


def test_single_paths_take_every_option_about_equally_often(elastic: Space) -> None:
    rule = SinglePath(Supernet(elastic), Classification(10), STEPS)
    rng = random.Random(0)
    drawn = Counter(elastic.choices(rule.draw(rng))["stages[0].width"] for _ in range(400))
    assert all(abs(count - 200) < 50 for count in drawn.values())  # five standard deviations


def test_fairness_takes_every_option_exactly_once_in_every_round(elastic: Space) -> None:
    rule = Fair(Supernet(elastic), Classification(10), STEPS, seed=7)
    for path, site in elastic.sites.items():
        count = len(site.domain.options)
        for start in range(0, 10 * count, count):
            taken = [rule.wanted(turn)[path] for turn in range(start, start + count)]
            assert sorted(taken) == list(range(count))


def test_fair_architectures_take_the_wanted_options_where_these_exist(
    elastic: Space, monkeypatch: pytest.MonkeyPatch
) -> None:
    rule = Fair(Supernet(elastic), Classification(10), STEPS)
    trained = []
    learn = rule.learn
    monkeypatch.setattr(
        rule, "learn", lambda architecture, *args: (trained.append(architecture), learn(architecture, *args))[1]
    )
    x, y = batch()
    rule(x, y, 0)
    rule(x, y, 1)
    assert len(trained) == 2 * rule.paths
    for turn, architecture in enumerate(trained):
        wanted = rule.wanted(turn)
        for path, option in elastic.assignment(architecture).items():
            assert option == wanted[path]
    widths = Counter(elastic.choices(architecture)["stages[0].width"] for architecture in trained)
    assert len(set(widths.values())) == 1


# --------------------------------------------------------------------------- attention


def test_a_pool_has_architectures_of_nearer_cost_than_random_ones(elastic: Space) -> None:
    rule = AttentiveBest(Supernet(elastic), Classification(10), STEPS)

    def spread(architectures: list[object]) -> float:
        first, *others = (cost(a).macs for a in architectures)  # type: ignore[arg-type]
        return sum(abs(first - other) for other in others) / first

    rng = random.Random(0)
    pools = [rule.pool(rng) for _ in range(20)]
    free = [[rule.draw(rng) for _ in range(POOL)] for _ in range(20)]
    assert all(len(pool) == POOL for pool in pools)
    assert sum(map(spread, pools)) < 0.5 * sum(map(spread, free))


@pytest.mark.parametrize(("kind", "pick"), [(AttentiveBest, min), (AttentiveWorst, max)])
def test_attention_takes_the_end_of_the_pool_that_it_says(kind: type[Attentive], pick: object, elastic: Space) -> None:
    x, y = batch()
    rule = kind(Supernet(elastic), Classification(10), STEPS)
    pool = [elastic.sample(seed) for seed in range(5)]
    losses = {}
    for architecture in pool:
        with torch.no_grad():
            output = Supernet(elastic).candidate(architecture).train()(x)
        losses[architecture] = float(torch.nn.functional.cross_entropy(output, y, label_smoothing=0.1))
    assert rule.attend(pool, x, y) == pick(pool, key=losses.__getitem__)  # type: ignore[operator]


# --------------------------------------------------------------------------- shrinking


def test_kinds_of_sites_open_quarter_by_quarter(elastic: Space) -> None:
    rule = ProgressiveShrinking(Supernet(elastic), Classification(10), 100)
    assert [rule.phase(step / 100) for step in (0, 24, 25, 49, 50, 74, 75, 99)] == [0, 0, 1, 1, 2, 2, 3, 3]
    rng = random.Random(0)

    def varied(phase: int) -> set[str]:
        seen: dict[str, set[object]] = {}
        for _ in range(80):
            for path, label in elastic.choices(rule.draw(rng, rule.closed(phase))).items():
                if elastic.sites[path].domain.ordered:
                    seen.setdefault(path, set()).add(label)
        return {path.rpartition(".")[2] for path, labels in seen.items() if len(labels) > 1}

    assert varied(1) == {"kernel"}
    assert varied(2) == {"kernel", "depth"}
    assert varied(3) == {"kernel", "depth", "width", "expand"}


def test_the_teacher_is_what_the_first_quarter_ended_with(elastic: Space) -> None:
    x, y = batch()
    rule = ProgressiveShrinking(Supernet(elastic), Classification(10), 4)
    weights = rule.supernet.store.parameters
    with torch.no_grad():
        for value in weights.values():
            value.add_(0.01)
    kept = {name: value.detach().clone() for name, value in weights.items()}
    rule(x, y, 1)
    with torch.no_grad():
        for value in weights.values():
            value.add_(0.01)
    rule(x, y, 2)
    assert int(rule.buffers["copied"]) == 1
    assert all(torch.equal(rule.buffers[f"teacher/{name}"], value) for name, value in kept.items())
    assert all(value.grad is None for value in rule.teacher.store.parameters.values())


def test_wanted_architectures_stay_within_the_budget(elastic: Space) -> None:
    counts = sorted(cost(elastic.sample(seed)).params for seed in range(60))
    limit = float(counts[20])
    bounds = Bounds(lambda spec, x: (float(part_cost(spec, x).params),), np.array([-np.inf]), np.array([limit]))
    rule = Fair(Supernet(elastic), Classification(10), STEPS, bounds=bounds)
    rng = random.Random(0)
    drawn = [rule.draw(rng, rule.wanted(turn)) for turn in range(40)] + [rule.draw(rng) for _ in range(20)]
    assert all(cost(architecture).params <= limit for architecture in drawn)
    assert len(set(drawn)) > 10


def test_wanted_architectures_keep_the_predicates_of_the_space(elastic: Space) -> None:
    space = Space(elastic.input, elastic.network, where=lambda a: cost(a).params % 2 == 0)
    rule = Fair(Supernet(space), Classification(10), STEPS)
    rng = random.Random(0)
    assert all(cost(rule.draw(rng, rule.wanted(turn))).params % 2 == 0 for turn in range(30))


def test_paths_that_modules_drop_follow_from_the_seed_and_the_number_of_the_step(digits: Dataset) -> None:
    stage = Stage(width=one_of(8, 16), depth=2, block=MBConv(expand=2.0, drop_path=0.5))
    space = Space(digits.input, Network(stem=ConvStem(width=8), stages=(stage,), head=Classifier(classes=10)))
    x, y = batch()
    first, again = make("sandwich", space), make("sandwich", space)
    torch.manual_seed(1)
    losses = [first(x, y, step) for step in range(4)]
    torch.manual_seed(2)
    assert [again(x, y, step) for step in reversed(range(4))] == losses[::-1]
    assert len(set(losses)) == 4


def test_steps_of_a_number_draw_the_same_again(elastic: Space) -> None:
    rule = SinglePath(Supernet(elastic), Classification(10), STEPS)
    first, second = (rule.draw(Step(4, 0.5, random.Random(9)).rng) for _ in range(2))
    assert first == second

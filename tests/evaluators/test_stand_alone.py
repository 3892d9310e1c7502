"""Networks trained alone: in pieces as at once, ended early, kept with their weights."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import nn

from archfront.evaluators.accuracy import score
from archfront.evaluators.data import Dataset, load_data
from archfront.evaluators.stand_alone import AloneAccuracy, Rung, StandAlone
from archfront.evaluators.store import SupernetError
from archfront.evaluators.task import Classification
from archfront.evaluators.train import Recipe, Training
from archfront.evaluators.trainer import Trainer
from archfront.hw_profiles.metrics import Measurement
from archfront.space.architecture import Architecture
from archfront.space.library.block.mbconv import MBConv
from archfront.space.library.head.classifier import Classifier
from archfront.space.library.stem.convolution import ConvStem
from archfront.space.network import Network, Stage

RECIPE = Recipe(epochs=6, batch_size=32, ema=0.9, augment="crop")


@pytest.fixture(scope="module")
def data() -> Dataset:
    return load_data("digits", limit=200)


@pytest.fixture(scope="module")
def architecture(data: Dataset) -> Architecture:
    stages = (Stage(width=8, depth=1, stride=2, block=MBConv(kernel=3, expand=2.0)),)
    network = Network(stem=ConvStem(width=8, stride=1), stages=stages, head=Classifier(classes=10))
    return Architecture(data.input, network)


@pytest.fixture
def noisy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks get dropout, so that training draws from the random generator at every step."""
    build = Architecture.build
    monkeypatch.setattr(Architecture, "build", lambda self: nn.Sequential(nn.Dropout(0.3), build(self)))


def weights(trainer: Trainer, architecture: Architecture, file: Path) -> dict[str, torch.Tensor]:
    return trainer.network(architecture, 3, file).state_dict()


def test_pieces_add_up_to_the_training_that_is_made_at_once(
    data: Dataset, architecture: Architecture, noisy: None, tmp_path: Path
) -> None:
    trainer = Trainer(data.train, data.validation, Classification(10), RECIPE)
    whole, pieces = tmp_path / "whole.safetensors", tmp_path / "pieces.safetensors"
    at_once = trainer.advance(architecture, 3, whole, 6)
    torch.rand(7)  # whatever else the process draws between pieces
    assert trainer.advance(architecture, 3, pieces, 2) is not None
    interrupted = sum(trainer.advance(architecture, 3, pieces, 5, seconds=0.0) is None for _ in range(3))
    assert interrupted == 3  # a step each
    assert trainer.advance(architecture, 3, pieces, 6) == at_once
    a, b = weights(trainer, architecture, whole), weights(trainer, architecture, pieces)
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_a_piece_says_what_the_network_scores_where_it_ends(
    data: Dataset, architecture: Architecture, tmp_path: Path
) -> None:
    trainer = Trainer(data.train, data.validation, Classification(10), RECIPE.model_copy(update={"ema": None}))
    file = tmp_path / "a.safetensors"
    reached = trainer.advance(architecture, 3, file, 4)
    assert reached == score(trainer.network(architecture, 3, file), data.validation, Classification(10))
    assert trainer.advance(architecture, 3, file, 4) == reached  # nothing is left to do


def test_training_leaves_the_random_generator_of_its_caller_alone(
    data: Dataset, architecture: Architecture, noisy: None, tmp_path: Path
) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    Trainer(data.train, data.validation, Classification(10), RECIPE).advance(
        architecture, 3, tmp_path / "a.safetensors", 1
    )
    assert torch.equal(torch.rand(3), expected)


class Plan:
    """Stops at the milestones that it is told; remembers in which order it was asked to judge."""

    milestones = (1, 2, 4)

    def __init__(self, stops: int | None) -> None:
        self.stops = stops
        self.judged: dict[int, Rung] = {}

    def rung(self, run: str, epochs: int) -> Rung | None:
        return self.judged.get(epochs)

    def judge(self, architecture: Architecture, run: str, epochs: int, accuracy: Measurement) -> None:
        assert epochs not in self.judged
        self.judged[epochs] = Rung(accuracy, epochs != self.stops)


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The number of every step that is made."""
    made: list[int] = []
    advance = Training._advance

    def counted(self: Training, x: torch.Tensor, y: torch.Tensor) -> float:
        made.append(self.step)
        return advance(self, x, y)

    monkeypatch.setattr(Training, "_advance", counted)
    yield made


def test_a_training_that_is_stopped_keeps_the_accuracy_it_had_reached_and_no_weights(
    data: Dataset, architecture: Architecture, tmp_path: Path, steps: list[int]
) -> None:
    plan = Plan(stops=2)
    alone = StandAlone(tmp_path, data, Classification(10), RECIPE, stopping=plan, keeps_weights=True)
    found = AloneAccuracy(alone).evaluate(architecture)
    per_epoch = RECIPE.steps(len(data.train)) // RECIPE.epochs
    assert steps == list(range(2 * per_epoch))
    assert found == {"alone_accuracy": plan.judged[2].accuracy, "stopped_epochs": Measurement(2, "exact")}
    assert AloneAccuracy(alone).evaluate(architecture) == found
    assert len(steps) == 2 * per_epoch
    assert not list(tmp_path.glob("*/checkpoints/*"))
    with pytest.raises(SupernetError, match="gone"):
        alone.network(architecture, 0)


def test_a_training_that_goes_on_makes_every_step_once_and_keeps_its_weights(
    data: Dataset, architecture: Architecture, tmp_path: Path, steps: list[int]
) -> None:
    plan = Plan(stops=None)
    alone = StandAlone(tmp_path, data, Classification(10), RECIPE, stopping=plan, keeps_weights=True)
    found = AloneAccuracy(alone).evaluate(architecture)
    assert steps == list(range(RECIPE.steps(len(data.train))))
    assert list(plan.judged) == [1, 2, 4]
    assert found == {"alone_accuracy": score(alone.network(architecture, 0), data.validation, Classification(10))}
    plain = StandAlone(tmp_path / "plain", data, Classification(10), RECIPE)
    assert plain.accuracy(architecture, 0) == found["alone_accuracy"]
    assert not list(tmp_path.glob("plain/*/checkpoints/*"))


def test_a_training_that_is_interrupted_goes_on_from_its_last_rung(
    data: Dataset, architecture: Architecture, tmp_path: Path, steps: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    judge = Plan.judge

    def interrupt(self: Plan, architecture: Architecture, run: str, epochs: int, accuracy: Measurement) -> None:
        if epochs == 4 and len(steps) < 2 * len(set(steps)):
            monkeypatch.setattr(Plan, "judge", judge)
            raise KeyboardInterrupt
        judge(self, architecture, run, epochs, accuracy)

    monkeypatch.setattr(Plan, "judge", interrupt)
    alone = StandAlone(tmp_path, data, Classification(10), RECIPE, stopping=Plan(None))
    with pytest.raises(KeyboardInterrupt):
        alone.train(architecture, 0)
    assert alone.begun(0, ()) == [architecture]
    assert alone.begun(0, {architecture.digest}) == alone.begun(1, ()) == []
    assert alone.train(architecture, 0)
    assert all(b == a + 1 for a, b in pairwise(steps))  # none made twice


def test_what_another_process_trains_is_left_to_it(data: Dataset, architecture: Architecture, tmp_path: Path) -> None:
    alone = StandAlone(tmp_path, data, Classification(10), RECIPE)
    alone.begin(architecture, 0)
    with alone.claimed(architecture, 0) as mine:
        assert mine
        other = StandAlone(tmp_path, data, Classification(10), RECIPE)
        assert not other.train(architecture, 0)
        assert other.begun(0, ()) == []
    assert other.begun(0, ()) == [architecture]

"""Training: learns, resumes bit for bit wherever it is stopped, survives a full disk, refuses what is not its own."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from archfront.evaluators.data import Dataset
from archfront.evaluators.rules.sandwich import Sandwich
from archfront.evaluators.store import SupernetError
from archfront.evaluators.supernet import Supernet
from archfront.evaluators.task import Classification
from archfront.evaluators.train import Diverged, Recipe, Training, read_checkpoint
from archfront.space import Space
from archfront.space.files import StorageError


def make(elastic: Space, digits: Dataset, checkpoint: Path | None, **recipe: object) -> Training:
    supernet = Supernet(elastic)
    chosen = Recipe(**{"epochs": 2, "batch_size": 64, "augment": "crop", "ema": 0.9, **recipe})  # type: ignore[arg-type]
    step = Sandwich(supernet, Classification(10), chosen.steps(len(digits.train)), randoms=1)
    return Training(
        supernet.store.parameters,
        step,
        digits.train,
        chosen,
        seed=1,
        checkpoint=checkpoint,
        identity="test",
        every_seconds=0.0,
    )


class Stop(Exception):
    """An interruption."""


def stop_at(step: int) -> Callable[[int, int, float], None]:
    def progress(done: int, total: int, loss: float) -> None:
        if done == step:
            raise Stop

    return progress


@pytest.mark.parametrize("stops", [(2,), (4,), (5, 7)])
def test_a_resumed_run_ends_in_the_same_weights_as_an_uninterrupted_one(
    elastic: Space, digits: Dataset, tmp_path: Path, stops: tuple[int, ...]
) -> None:
    whole = make(elastic, digits, tmp_path / "whole.safetensors")
    whole.run()
    for step in stops:
        part = make(elastic, digits, tmp_path / "part.safetensors")
        with pytest.raises(Stop):
            part.run(stop_at(step))
    part = make(elastic, digits, tmp_path / "part.safetensors")
    assert 0 < part.step < part.total
    part.run()
    for name, parameter in whole.parameters.items():
        assert torch.equal(parameter, part.parameters[name]), name
    done = make(elastic, digits, tmp_path / "part.safetensors")
    assert done.done
    assert all(torch.equal(done.parameters[name], p) for name, p in part.parameters.items())


def test_training_lowers_the_loss(elastic: Space, digits: Dataset) -> None:
    losses: list[float] = []
    make(elastic, digits, None, epochs=10, ema=None).run(lambda done, total, loss: losses.append(loss))
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])


def test_a_full_disk_ends_in_a_message_and_keeps_the_checkpoint_before(
    elastic: Space, digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from archfront.evaluators import train

    file = tmp_path / "last.safetensors"
    training = make(elastic, digits, file)
    with pytest.raises(Stop):
        training.run(stop_at(3))
    before = file.read_bytes()
    real = train.save_file

    def full(tensors: dict[str, torch.Tensor], path: Path, metadata: dict[str, str]) -> None:
        real(tensors, path, metadata)
        with path.open("rb+") as handle:
            handle.truncate(1000)  # what a full disk leaves behind
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(train, "save_file", full)
    with pytest.raises(
        StorageError, match=r"cannot write .*last\.safetensors: No space left on device; what was there"
    ):
        make(elastic, digits, file).run()
    assert file.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir() if p.suffix not in (".json", ".safetensors")] == []
    monkeypatch.undo()
    resumed = make(elastic, digits, file)
    assert resumed.step == 2
    resumed.run()


def test_a_damaged_or_foreign_checkpoint_is_refused(elastic: Space, digits: Dataset, tmp_path: Path) -> None:
    file = tmp_path / "last.safetensors"
    make(elastic, digits, file).run()
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SupernetError, match="cannot be read as a checkpoint"):
        make(elastic, digits, file)
    file.write_bytes(b"not a checkpoint at all")
    with pytest.raises(SupernetError, match="cannot be read as a checkpoint"):
        make(elastic, digits, file)
    file.write_bytes(whole)
    with pytest.raises(SupernetError, match="belongs to another run"):
        make(elastic, digits, file, epochs=3)
    facts, tensors = read_checkpoint(file)
    assert facts["step"] == facts["total"]
    assert all(name.startswith("weight/") for name in tensors)


def test_a_loss_that_is_not_finite_stops_with_advice(elastic: Space, digits: Dataset) -> None:
    training = make(elastic, digits, None)
    training.step_loss = lambda x, y, step: float("nan")
    with pytest.raises(Diverged, match=r"became nan at step 1 .*smaller learning_rate"):
        training.run()


def test_the_learning_rate_warms_up_and_decays_to_zero() -> None:
    recipe = Recipe(learning_rate=1.0, warmup=0.1)
    rates = [recipe.rate(step, 100) for step in range(100)]
    assert rates[:10] == pytest.approx([0.1 * (i + 1) for i in range(10)])
    assert rates[10] == 1.0
    assert rates[55] == pytest.approx(0.5)
    assert rates[-1] < 1e-3
    assert rates[10:] == sorted(rates[10:], reverse=True)

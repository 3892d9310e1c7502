"""Training in several processes: weights stay equal, and are those of one process where nothing depends on the batch."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from archfront.evaluators.data import Dataset
from archfront.evaluators.parallel import ALONE, Group, Peers, helped, joined, most_processes
from archfront.evaluators.rules import RULES, rule_named
from archfront.evaluators.rules.rule import Rule
from archfront.evaluators.store import SupernetError
from archfront.evaluators.task import Classification
from archfront.evaluators.train import Diverged, Recipe, Training, read_checkpoint
from archfront.space import Network, Space, Stage, int_range, one_of
from archfront.space.library.block.metaformer import MetaFormer
from archfront.space.library.downsample.patch_merging import PatchMerging
from archfront.space.library.head.classifier import Classifier
from archfront.space.library.mixer.average_pool import AveragePool
from archfront.space.library.mixer.self_attention import SelfAttention
from archfront.space.library.stem.patch import PatchStem

from ..forks import ended, forked

STEPS = 4
PROCESSES = 2


@pytest.fixture(scope="module")
def row_by_row(digits: Dataset) -> Space:
    """A space without batch normalisation: what a network says about an image does not depend on the others."""
    return Space(
        digits.input,
        Network(
            stem=PatchStem(width=one_of(16, 32), patch=2, norm="layer"),
            stages=(
                Stage(
                    width=32,
                    depth=int_range(1, 2),
                    downsample=PatchMerging(),
                    block=MetaFormer(mixer=one_of(SelfAttention(), AveragePool()), norm="layer"),
                ),
            ),
            head=Classifier(classes=10),
        ),
    )


def training(name: str, space: Space, digits: Dataset, group: Group, checkpoint: Path | None = None) -> Training:
    kind = rule_named(name)
    rule: Rule = kind(kind.make_supernet(space), Classification(10), STEPS, randoms=1)
    rule.group = group
    recipe = Recipe(epochs=STEPS // 2, batch_size=32, augment="crop")
    split = digits.train.take(torch.arange(64))
    return Training(
        rule.parameters,
        rule,
        split,
        recipe,
        buffers=rule.buffers,
        checkpoint=checkpoint,
        every_seconds=0.0,
        group=group,
    )


def in_processes(work: Callable[[Group], None], folder: Path) -> None:
    """Do something in two processes that form a group."""

    def run(rank: int) -> None:
        with joined(rank, PROCESSES, folder / "meeting") as group:
            work(group)

    children = [forked(lambda rank=rank: run(rank)) for rank in range(PROCESSES)]  # type: ignore[misc]
    assert [ended(child, 120) for child in children] == [0] * PROCESSES


def trained_together(name: str, space: Space, digits: Dataset, folder: Path) -> list[dict[str, torch.Tensor]]:
    """The weights and buffers in every process after a training together."""

    def train(group: Group) -> None:
        done = training(name, space, digits, group)
        done.run()
        tensors = {**done.parameters, **{f"buffer/{n}": b for n, b in done.buffers.items()}}
        save_file({n: t.detach().contiguous() for n, t in tensors.items()}, folder / f"{group.rank}.safetensors")

    in_processes(train, folder)
    return [load_file(folder / f"{rank}.safetensors") for rank in range(PROCESSES)]


@pytest.mark.parametrize("name", RULES)
def test_all_processes_end_in_equal_weights_bit_for_bit(
    name: str, elastic: Space, digits: Dataset, tmp_path: Path
) -> None:
    first, second = trained_together(name, elastic, digits, tmp_path)
    begun = training(name, elastic, digits, ALONE).parameters
    assert all(torch.equal(first[n], second[n]) for n in first)
    assert any(not torch.equal(first[n], begun[n]) for n in begun)


@pytest.mark.parametrize("name", ["single_path", "fair", "sandwich", "alpha_divergence", "progressive", "few_shot"])
def test_two_processes_train_as_one_where_no_statistics_of_the_batch_enter(
    name: str, row_by_row: Space, digits: Dataset, tmp_path: Path
) -> None:
    together = trained_together(name, row_by_row, digits, tmp_path)[0]
    alone = training(name, row_by_row, digits, ALONE)
    begun = {n: p.detach().clone() for n, p in alone.parameters.items()}
    alone.run()
    # sums in another order; AdamW divides a gradient by its size, which makes rounding visible where it should be zero
    assert distance(alone.parameters, together) < 0.02 * distance(alone.parameters, begun)


def distance(one: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor]) -> float:
    return sum(float((tensor.detach() - other[name]).square().sum()) for name, tensor in one.items()) ** 0.5


def test_shares_make_up_the_batch() -> None:
    for images in (8, 9):
        batch = torch.arange(images)
        shares = [Peers(rank, 4).share(batch) for rank in range(4)]
        assert {len(share) for share in shares} == {2}
        assert sorted(torch.cat(shares).tolist()) == list(range(8))
    assert ALONE.share(batch) is batch


def test_only_the_first_writes_the_checkpoint_and_each_goes_on_from_it(
    elastic: Space, digits: Dataset, tmp_path: Path
) -> None:
    file = tmp_path / "last.safetensors"

    class Stop(Exception):
        """An interruption."""

    def stop(done: int, total: int, loss: float) -> None:
        if done == 3:
            raise Stop

    def half(group: Group) -> None:
        with pytest.raises(Stop):
            training("fair", elastic, digits, group, file if group.rank == 0 else tmp_path / "other").run(stop)

    def rest(group: Group) -> None:
        resumed = training("fair", elastic, digits, group, file)
        assert 0 < resumed.step < STEPS
        resumed.run()

    in_processes(half, tmp_path)
    assert not (tmp_path / "other").exists()
    (tmp_path / "meeting").unlink(missing_ok=True)
    in_processes(rest, tmp_path)
    (tmp_path / "meeting").unlink(missing_ok=True)
    (whole := tmp_path / "whole").mkdir()
    expected = trained_together("fair", elastic, digits, whole)[0]
    found = read_checkpoint(file)[1]
    assert all(torch.equal(found[f"weight/{n}"], value) for n, value in expected.items())


def test_all_processes_agree_that_a_training_diverged(elastic: Space, digits: Dataset, tmp_path: Path) -> None:
    def train(group: Group) -> None:
        broken = training("single_path", elastic, digits, group)
        rule = broken.step_loss
        broken.step_loss = lambda x, y, step: rule(x, y, step) + (0 if group.rank or step < 2 else float("inf"))
        with pytest.raises(Diverged, match="step 3 of 4"):
            broken.run()

    in_processes(train, tmp_path)


def test_a_process_that_ends_is_named_with_what_it_said() -> None:
    broken = [sys.executable, "-c", "raise SystemExit('no such disk')"]
    with pytest.raises(SupernetError, match=r"process 1 .* code 1, saying: no such disk"), helped(broken, 2, "this"):
        pytest.fail("there is nobody to train with")


def test_a_process_that_would_train_something_else_is_refused() -> None:
    other = [sys.executable, "-c", "print('loading'); print('ready to train that'); input()"]
    with pytest.raises(SupernetError, match="has 'that' to train, this one 'this'"), helped(other, 2, "this"):
        pytest.fail("there is nobody to train with")


def test_one_process_starts_no_other() -> None:
    with helped(["no such command"], 1, "this") as group:
        assert group is ALONE
    assert most_processes(64) == max(1, min(2, torch.cuda.device_count()))

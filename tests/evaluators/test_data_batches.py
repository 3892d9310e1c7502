"""Batches: complete, repeatable, resumable."""

from __future__ import annotations

import pytest
import torch

from archfront.evaluators.augment import Augment
from archfront.evaluators.data import DataError, Split, batches, epoch_generator
from archfront.evaluators.data_batches import Normalise


def numbered(count: int, size: int = 4) -> Split:
    """Images that hold their own number, labelled by it modulo 3."""
    images = torch.arange(count, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 2, size, size).contiguous()
    return Split(
        images, torch.arange(count) % 3, torch.arange(count), 3, Normalise((0.0, 0.0), (1 / 255, 1 / 255), 255.0)
    )


def numbers(batch: torch.Tensor) -> list[int]:
    return [round(v) for v in batch[:, 0, 0, 0].tolist()]


def test_an_epoch_holds_every_image_once_with_its_label() -> None:
    seen = []
    for x, y in batches(numbered(50), 8, epoch_generator(0, 0), shuffle=True):
        assert x.dtype == torch.float32
        assert y.tolist() == [n % 3 for n in numbers(x)]
        seen += numbers(x)
    assert sorted(seen) == list(range(50))
    assert seen != list(range(50))


def test_without_shuffling_the_order_is_that_of_the_split() -> None:
    assert [n for x, _ in batches(numbered(50), 8) for n in numbers(x)] == list(range(50))


def test_normalised_values_are_those_of_the_formula() -> None:
    split = numbered(6)
    normalise = Normalise((0.1, 0.2), (0.5, 0.25), 255.0)
    expected = (split.images.double() / 255 - torch.tensor([0.1, 0.2]).view(2, 1, 1)) / torch.tensor([0.5, 0.25]).view(
        2, 1, 1
    )
    torch.testing.assert_close(normalise(split.images).double(), expected, rtol=0, atol=1e-6)


def test_a_constant_channel_normalises_to_zero_and_not_to_nan() -> None:
    images = torch.full((4, 1, 3, 3), 77, dtype=torch.uint8)
    assert Normalise.of(images)(images).abs().max() < 1e-5


def test_epochs_differ_and_repeat_for_the_same_seed() -> None:
    def order(seed: int, epoch: int) -> list[int]:
        return [n for x, _ in batches(numbered(40), 8, epoch_generator(seed, epoch), shuffle=True) for n in numbers(x)]

    assert order(3, 5) == order(3, 5)
    assert len({tuple(order(seed, epoch)) for seed in range(3) for epoch in range(3)}) == 9


def test_an_epoch_continued_in_the_middle_gives_the_batches_of_an_uninterrupted_one() -> None:
    options = {"shuffle": True, "augment": Augment(crop=1, flip=True, cutout=2, mixup=0.4)}
    whole = list(batches(numbered(50), 8, epoch_generator(1, 2), **options))  # type: ignore[arg-type]
    rest = list(batches(numbered(50), 8, epoch_generator(1, 2), first=3, **options))  # type: ignore[arg-type]
    assert len(rest) == len(whole) - 3
    for (x, y), (a, b) in zip(whole[3:], rest, strict=True):
        assert torch.equal(x, a)
        assert torch.equal(y, b)


def test_drop_last_leaves_out_the_batch_that_is_not_full() -> None:
    assert [len(x) for x, _ in batches(numbered(20), 8)] == [8, 8, 4]
    assert [len(x) for x, _ in batches(numbered(20), 8, drop_last=True)] == [8, 8]


@pytest.mark.parametrize("channels_last", [True, False])
@pytest.mark.parametrize("augment", [None, "crop+flip", "cutout"])
def test_batches_have_the_memory_format_asked_for(channels_last: bool, augment: str | None) -> None:
    x, _ = next(batches(numbered(8, 8), 8, epoch_generator(0, 0), augment=augment, channels_last=channels_last))
    assert x.is_contiguous(memory_format=torch.channels_last if channels_last else torch.contiguous_format)


def test_taking_a_part_keeps_images_labels_and_rows_together() -> None:
    part = numbered(20).take(torch.tensor([7, 3]))
    assert part.rows.tolist() == [7, 3]
    assert part.labels.tolist() == [1, 0]
    assert part.images[:, 0, 0, 0].tolist() == [7, 3]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size >= 1"),
        ({"batch_size": 30, "drop_last": True}, "no batch at all"),
        ({"batch_size": 4, "shuffle": True}, "need a generator"),
        ({"batch_size": 4, "augment": "flip"}, "need a generator"),
    ],
)
def test_impossible_batches_are_refused_at_once(options: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        batches(numbered(20), **options)  # type: ignore[arg-type]

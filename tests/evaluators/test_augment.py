"""Augmentation against a loop over single images that does the same by slicing."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from archfront.evaluators.augment import Augment, augment_named
from archfront.space.errors import ArchfrontError


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(count: int = 64, height: int = 7, width: int = 9) -> torch.Tensor:
    """Distinct values everywhere, none of them 0."""
    return torch.arange(1.0, count * 2 * height * width + 1).view(count, 2, height, width)


LABELS = torch.arange(64) % 5


def windows(image: torch.Tensor, pad: int, flip: bool) -> list[torch.Tensor]:
    """Every image that cropping (and flipping) may give."""
    height, width = image.shape[1:]
    padded = F.pad(image, (pad, pad, pad, pad))
    crops = [
        padded[:, top : top + height, left : left + width] for top in range(2 * pad + 1) for left in range(2 * pad + 1)
    ]
    flipped = F.pad(image.flip(2), (pad, pad, pad, pad))
    mirrored = [crop.flip(2) for crop in crops]
    assert flipped.shape == padded.shape
    return crops + mirrored if flip else crops


@pytest.mark.parametrize(("pad", "flip"), [(2, False), (0, True), (2, True)])
def test_every_image_becomes_one_of_its_own_crops_and_all_of_them_occur(pad: int, flip: bool) -> None:
    start = images()
    seen = set()
    for seed in range(20):
        changed, labels = Augment(crop=pad, flip=flip)(start, LABELS, 5, generator(seed))
        assert torch.equal(labels, LABELS)
        for before, after in zip(start, changed, strict=True):
            matches = [i for i, window in enumerate(windows(before, pad, flip)) if torch.equal(window, after)]
            assert len(matches) == 1
            seen.add(matches[0])
    assert len(seen) == (2 * pad + 1) ** 2 * (2 if flip else 1)


def test_half_of_the_images_are_flipped() -> None:
    start = images(64)
    flipped = sum(
        int((Augment(flip=True)(start, LABELS, 5, generator(seed))[0] != start).flatten(1).any(1).sum())
        for seed in range(50)
    )
    assert abs(flipped / 3200 - 0.5) < 0.04  # 4.5 standard errors


def test_cutout_removes_a_square_of_the_side_asked_for_from_all_channels() -> None:
    whole = 0
    for seed in range(20):
        changed, _ = Augment(cutout=4)(images(), LABELS, 5, generator(seed))
        for before, after in zip(images(), changed, strict=True):
            hole = after == 0
            assert torch.equal(hole[0], hole[1])
            assert torch.equal(after[~hole], before[~hole])
            rows, columns = hole[0].any(1), hole[0].any(0)
            assert torch.equal(hole[0], rows[:, None] & columns[None, :])
            for band in (rows, columns):
                inside = band.nonzero()[:, 0]
                assert len(inside) == int(inside[-1] - inside[0]) + 1
                assert 2 <= len(inside) <= 4
            whole += int(hole[0].sum() == 16)
    assert whole > 200


def test_mixup_mixes_labels_in_the_proportion_in_which_it_mixes_images() -> None:
    start = torch.eye(8)[:, :, None, None]  # image i is the one-hot vector i, so that its values are the shares
    labels = torch.arange(8)
    weights = []
    for seed in range(50):
        mixed, shares = Augment(mixup=1.0)(start, labels, 8, generator(seed))
        torch.testing.assert_close(mixed[:, :, 0, 0], shares)
        torch.testing.assert_close(shares.sum(1), torch.ones(8))
        weights.append(float(shares.diagonal().min()))
    assert max(weights) - min(weights) > 0.5


def test_the_same_generator_gives_the_same_and_no_global_state_is_touched() -> None:
    everything = Augment(crop=2, flip=True, cutout=3, mixup=0.2)
    before = torch.get_rng_state()
    first = everything(images(), LABELS, 5, generator(7))
    second = everything(images(), LABELS, 5, generator(7))
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("text", "size", "expected"),
    [
        ("none", (8, 8), None),
        ("crop", (8, 8), Augment(crop=1)),
        ("crop", (32, 32), Augment(crop=4)),
        ("crop+flip", (32, 48), Augment(crop=4, flip=True)),
        ("flip+cutout+mixup", (32, 32), Augment(flip=True, cutout=16, mixup=0.2)),
    ],
)
def test_names_stand_for_the_strengths_of_the_papers_at_32_pixels(
    text: str, size: tuple[int, int], expected: Augment | None
) -> None:
    assert augment_named(text, size) == expected


@pytest.mark.parametrize(("text", "hint"), [("crop+flp", "'flip'"), ("", "known"), ("none+flip", "'none'")])
def test_unknown_names_are_errors(text: str, hint: str) -> None:
    with pytest.raises(ArchfrontError, match=hint):
        augment_named(text, (32, 32))

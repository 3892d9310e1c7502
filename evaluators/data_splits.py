"""Which images train, which validate, which test: stratified by class, disjoint, the same for the same seed."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .sources.listing import DataError, IntArray


def stratified(labels: IntArray, count: int, seed: int, least: int = 1) -> tuple[IntArray, IntArray]:
    """Choose `count` of the images so that every class gives its share: (chosen, left), both rising.

    Within a class the order is random. A class of n images gives each of them a rank (0.5 / n, 1.5 / n, ...), and the
    `count` images of lowest rank over all classes are chosen, so every class is within one image of its share. At least
    `least` images of every class are chosen and at least one is left.

    Raises:
        DataError: `count`, or a class, is too small for that.
    """
    generator = np.random.default_rng(seed)
    rank = np.empty(len(labels))
    classes = np.unique(labels)
    for label in classes:
        members = generator.permutation(np.flatnonzero(labels == label))
        if len(members) <= least:
            raise DataError(
                f"class {label} has {len(members)} images, which is too few to split off {least} and keep one"
            )
        rank[members] = (np.arange(len(members)) + 0.5) / len(members)
        rank[members[:least]] = -1
        rank[members[-1]] = 2
    if not least * len(classes) <= count <= len(labels) - len(classes):
        raise DataError(
            f"cannot split off {count} of {len(labels)} images: with {len(classes)} classes, "
            f"{least * len(classes)} to {len(labels) - len(classes)} can be"
        )
    order = np.argsort(rank, kind="stable")
    return np.sort(order[:count]), np.sort(order[count:])


def plan_splits(
    labels: Mapping[str, IntArray], *, validation: float, test: float, limit: int | None, seed: int
) -> dict[str, tuple[str, IntArray]]:
    """For each of train, validation and test: the part of the source it comes from, and its positions in that part.

    Splits of the source are kept. A missing test split is carved out of "train" first, so that neither `limit` nor
    `validation` changes it; then `limit` thins training and validation images; then missing validation is carved.

    Args:
        labels: the labels of each part of the source, "train" among them.
        validation: share of the training images (after the test split and the limit) that validate.
        test: share of the training images that test.
        limit: how many training and validation images are kept together.
    """
    rows = {part: np.arange(len(values)) for part, values in labels.items()}
    origin = {split: split if split in labels else "train" for split in ("train", "validation", "test")}
    if origin["test"] == "train":
        rows["test"], rows["train"] = _carve(labels["train"], rows["train"], "test", test, seed)
    if limit is not None:
        together = len(rows["train"]) + len(rows.get("validation", ()))
        for part in ("train", "validation") if limit < together else ():
            if part in rows:
                share = round(limit * len(rows[part]) / together)
                rows[part] = rows[part][stratified(labels[part][rows[part]], share, seed + 1, least=2)[0]]
    if origin["validation"] == "train":
        rows["validation"], rows["train"] = _carve(labels["train"], rows["train"], "validation", validation, seed + 2)
    return {split: (part, rows[split]) for split, part in origin.items()}


def _carve(labels: IntArray, rows: IntArray, split: str, share: float, seed: int) -> tuple[IntArray, IntArray]:
    if not 0 < share < 1:
        raise DataError(f"{split}={share}: expected the share of images that are split off, between 0 and 1")
    chosen, left = stratified(labels[rows], round(share * len(rows)), seed)
    return rows[chosen], rows[left]

"""Loading, splitting and describing data sets, on small files of every layout."""

from __future__ import annotations

import gzip
import json
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from pyarrow import parquet

from archfront.evaluators.data import DataError, Dataset, load_data

Pixels = NDArray[np.uint8]


def pixels(label: int, index: int, size: tuple[int, int] = (6, 6), channels: int = 3) -> Pixels:
    """A picture that only (label, index) has, so that a test can tell which image it sees."""
    rng = np.random.default_rng((label, index))
    return rng.integers(0, 256, (*size, channels), dtype=np.uint8)


def write_folder(root: Path, counts: dict[str, int], size: tuple[int, int] = (6, 6)) -> None:
    for label, (name, count) in enumerate(sorted(counts.items())):
        (root / name).mkdir(parents=True)
        for index in range(count):
            Image.fromarray(pixels(label, index, size)).save(root / name / f"{index:03}.png")


def png(array: Pixels) -> bytes:
    from io import BytesIO

    buffer = BytesIO()
    Image.fromarray(array).save(buffer, "PNG")
    return buffer.getvalue()


def write_parquet(
    path: Path, rows: list[tuple[bytes | None, int | None]], metadata: dict[str, str] | None = None
) -> None:
    images = pa.array(
        [None if data is None else {"bytes": data, "path": "x.png"} for data, _ in rows],
        pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
    )
    table = pa.table({"image": images, "label": pa.array([label for _, label in rows], pa.int64())})
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(table.replace_schema_metadata(metadata or {}), path, row_group_size=7)


def encoded_rows(count: int, classes: int = 2, start: int = 0) -> list[tuple[bytes | None, int | None]]:
    return [(png(pixels(i % classes, i)), i % classes) for i in range(start, start + count)]


def splits(data: Dataset) -> tuple[set[bytes], set[bytes], set[bytes]]:
    """The images of each split, as sets of bytes."""
    return tuple(
        {image.numpy().tobytes() for image in split.images} for split in (data.train, data.validation, data.test)
    )  # type: ignore[return-value]


# --------------------------------------------------------------------------- splits


def test_digits_hold_the_images_of_scikit_learn_each_in_one_split_only() -> None:
    from sklearn.datasets import load_digits

    data = load_data("digits")
    expected = load_digits()
    assert len(data.train) + len(data.validation) + len(data.test) == 1797 == len(expected.target)
    rows = torch.cat([split.rows for split in (data.train, data.validation, data.test)])
    assert sorted(rows.tolist()) == list(range(1797))
    for split in (data.train, data.validation, data.test):
        assert torch.equal(split.labels, torch.from_numpy(expected.target)[split.rows])
        assert torch.equal(split.images[:, 0] / 15, torch.from_numpy(expected.images)[split.rows].float())
    assert str(data.input) == "1x8x8"
    assert data.classes == tuple("0123456789")


@pytest.mark.parametrize(("validation", "test"), [(0.2, 0.2), (0.1, 0.5), (0.37, 0.05)])
def test_every_class_is_within_one_image_of_its_share_in_every_split(validation: float, test: float) -> None:
    data = load_data("digits", validation=validation, test=test)
    total = torch.bincount(torch.cat([data.train.labels, data.validation.labels, data.test.labels]))
    in_test = torch.bincount(data.test.labels)
    assert len(data.test) == round(test * 1797)
    assert torch.all((in_test - total * test).abs() <= 1)
    rest = total - in_test
    assert len(data.validation) == round(validation * int(rest.sum()))
    assert torch.all((torch.bincount(data.validation.labels) - rest * validation).abs() <= 1)


def test_the_same_seed_gives_the_same_split_and_another_seed_another() -> None:
    first, again, other = load_data("digits"), load_data("digits"), load_data("digits", seed=1)
    assert torch.equal(first.validation.rows, again.validation.rows)
    assert first.fingerprint == again.fingerprint != other.fingerprint
    assert set(first.test.rows.tolist()) != set(other.test.rows.tolist())


def test_limit_and_validation_share_leave_the_test_split_as_it_is() -> None:
    whole = load_data("digits")
    part = load_data("digits", limit=200, validation=0.5)
    assert len(part.train) == len(part.validation) == 100
    assert set(part.test.rows.tolist()) == set(whole.test.rows.tolist())
    assert torch.bincount(torch.cat([part.train.labels, part.validation.labels])).tolist() == pytest.approx(
        [20] * 10, abs=1
    )
    assert "200" in part.name


def test_the_first_images_of_a_split_are_a_fair_sample_although_folders_are_read_class_by_class(tmp_path: Path) -> None:
    write_folder(tmp_path, {"a": 60, "b": 60, "c": 60})
    assert len(load_data(str(tmp_path)).train.labels[:20].unique()) == 3


def test_every_image_of_a_parquet_keeps_its_label_through_splitting_and_shuffling(tmp_path: Path) -> None:
    write_parquet(tmp_path / "train.parquet", encoded_rows(40, classes=4))
    data = load_data(str(tmp_path))
    seen = []
    for split in (data.train, data.validation, data.test):
        for image, label, row in zip(split.images, split.labels, split.rows, strict=True):
            assert np.array_equal(image.permute(1, 2, 0).numpy(), pixels(int(label), int(row)))
            seen.append(int(row))
    assert sorted(seen) == list(range(40))


def test_statistics_are_those_of_the_training_images() -> None:
    data = load_data("digits")
    values = data.train.images.double() / 255
    assert data.mean == pytest.approx(values.mean((0, 2, 3)).tolist(), rel=1e-12)
    assert data.std == pytest.approx(values.std((0, 2, 3), correction=0).tolist(), rel=1e-12)
    normal = data.normalise(data.train.images)
    assert normal.dtype == torch.float32
    assert float(normal.mean()) == pytest.approx(0, abs=1e-5)
    assert float(normal.std()) == pytest.approx(1, abs=1e-3)


def test_the_fingerprint_notices_one_changed_pixel(tmp_path: Path) -> None:
    write_folder(tmp_path, {"a": 10, "b": 10})
    before = load_data(str(tmp_path)).fingerprint
    changed = pixels(0, 3)
    changed[2, 2, 0] ^= 1
    Image.fromarray(changed).save(tmp_path / "a" / "003.png")
    assert load_data(str(tmp_path)).fingerprint != before


def test_the_record_of_a_data_set_is_plain_json() -> None:
    record = load_data("digits", limit=100).to_dict()
    assert json.loads(json.dumps(record))["images"] == {"train": 80, "validation": 20, "test": 359}


def test_progress_counts_every_image_once() -> None:
    calls: list[tuple[int, int]] = []
    load_data("digits", progress=lambda done, total: calls.append((done, total)))
    assert calls[-1] == (1797, 1797)
    assert [done for done, _ in calls] == sorted({done for done, _ in calls})


# --------------------------------------------------------------------------- layouts


def test_an_image_folder_is_read_pixel_by_pixel_with_its_folders_as_classes(tmp_path: Path) -> None:
    write_folder(tmp_path, {"dog": 9, "cat": 8})
    data = load_data(str(tmp_path))
    assert data.classes == ("cat", "dog")
    assert str(data.input) == "3x6x6"
    assert set().union(*splits(data)) == {
        pixels(label, i).transpose(2, 0, 1).tobytes() for label, n in ((0, 8), (1, 9)) for i in range(n)
    }


@pytest.mark.parametrize("word", ["val", "validation", "valid"])
def test_splits_of_a_folder_are_kept(tmp_path: Path, word: str) -> None:
    write_folder(tmp_path / "train", {"a": 10, "b": 10})
    write_folder(tmp_path / word, {"a": 4, "b": 3})
    write_folder(tmp_path / "test", {"a": 2, "b": 5})
    data = load_data(str(tmp_path))
    assert (len(data.train), len(data.validation), len(data.test)) == (20, 7, 7)


def test_limit_is_shared_by_training_and_validation_images_of_a_source_that_has_both(tmp_path: Path) -> None:
    write_folder(tmp_path / "train", {"a": 30, "b": 30})
    write_folder(tmp_path / "val", {"a": 10, "b": 10})
    write_folder(tmp_path / "test", {"a": 2, "b": 5})
    data = load_data(str(tmp_path), limit=40)
    assert (len(data.train), len(data.validation), len(data.test)) == (30, 10, 7)


def test_all_layouts_of_the_same_images_give_the_same_data(tmp_path: Path) -> None:
    images = np.stack([pixels(i % 2, i) for i in range(20)])
    labels = np.arange(20) % 2
    np.savez(tmp_path / "nhwc.npz", x=images, y=labels)
    np.savez(tmp_path / "nchw.npz", images=images.transpose(0, 3, 1, 2), labels=labels[:, None].astype(np.uint8))
    np.savez(tmp_path / "wide.npz", x=images.astype(np.int32), y=labels)
    write_parquet(tmp_path / "hub" / "data" / "train-00000-of-00002.parquet", encoded_rows(11))
    write_parquet(tmp_path / "hub" / "data" / "train-00001-of-00002.parquet", encoded_rows(9, start=11))
    write_parquet(tmp_path / "single.parquet", encoded_rows(20))
    sources = ("nhwc.npz", "nchw.npz", "wide.npz", "hub", "single.parquet")
    assert len({load_data(str(tmp_path / source)).fingerprint for source in sources}) == 1


def test_parquet_splits_follow_file_or_folder_names_and_classes_the_metadata(tmp_path: Path) -> None:
    features = {"info": {"features": {"label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}}}
    write_parquet(tmp_path / "default/train/0000.parquet", encoded_rows(12), {"huggingface": json.dumps(features)})
    write_parquet(tmp_path / "default/validation/0000.parquet", encoded_rows(6))
    write_parquet(tmp_path / "default/test/0000.parquet", encoded_rows(4))
    data = load_data(str(tmp_path))
    assert (len(data.train), len(data.validation), len(data.test)) == (12, 6, 4)
    assert data.classes == ("cat", "dog")


def test_plain_binary_columns_and_names_separated_by_commas_are_read(tmp_path: Path) -> None:
    rows = encoded_rows(20)
    table = pa.table({"img": [data for data, _ in rows], "target": [label for _, label in rows]})
    parquet.write_table(table.replace_schema_metadata({"classes": "cat,dog"}), tmp_path / "train.parquet")
    assert load_data(str(tmp_path / "train.parquet")).classes == ("cat", "dog")


def test_npz_splits_and_floats_are_kept_as_they_are(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    train, held = rng.normal(5, 3, (20, 6, 7)), rng.normal(5, 3, (6, 6, 7))
    np.savez(tmp_path / "a.npz", x_train=train, y_train=np.arange(20) % 2, x_test=held, y_test=np.arange(6) % 2)
    data = load_data(str(tmp_path / "a.npz"))
    assert str(data.input) == "1x6x7"
    assert torch.equal(data.test.images[:, 0], torch.from_numpy(held.astype(np.float32))[data.test.rows])
    assert float(data.normalise(data.train.images).std()) == pytest.approx(1, abs=0.05)


def test_npz_arrays_with_one_pair_a_split_named_like_train_images_are_read(tmp_path: Path) -> None:
    images = np.stack([pixels(i % 2, i) for i in range(8)])
    labels = (np.arange(8) % 2)[:, None]
    np.savez(
        tmp_path / "a.npz",
        **{f"{s}_images": images for s in ("train", "val", "test")},
        **{f"{s}_labels": labels for s in ("train", "val", "test")},
    )  # type: ignore[arg-type]
    data = load_data(str(tmp_path / "a.npz"))
    assert (len(data.train), len(data.validation), len(data.test)) == (8, 8, 8)


def write_idx(path: Path, array: Pixels) -> None:
    data = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


@pytest.mark.parametrize("spelling", ["{}-images-idx3-ubyte", "{}-images-idx3-ubyte.gz", "{}-images.idx3-ubyte"])
def test_idx_files_are_read(tmp_path: Path, spelling: str) -> None:
    images = np.stack([pixels(0, i, channels=1)[..., 0] for i in range(20)])
    for split, part in (("train", images), ("t10k", images[:6])):
        write_idx(tmp_path / spelling.format(split), part)
        labels = spelling.format(split).replace("images", "labels").replace("idx3", "idx1")
        write_idx(tmp_path / labels, (np.arange(len(part)) % 2).astype(np.uint8))
    data = load_data(str(tmp_path))
    assert (len(data.train) + len(data.validation), len(data.test)) == (20, 6)
    assert np.array_equal(data.test.images[:, 0].numpy(), images[data.test.rows.numpy()])


# --------------------------------------------------------------------------- size and colour


def test_resized_files_and_resized_arrays_agree_and_are_what_pillow_makes_of_them(tmp_path: Path) -> None:
    images = np.stack([pixels(i % 2, i, (17, 11)) for i in range(10)])
    np.savez(tmp_path / "a.npz", x=images, y=np.arange(10) % 2)
    write_parquet(tmp_path / "a.parquet", [(png(image), i % 2) for i, image in enumerate(images)])
    files = load_data(str(tmp_path / "a.parquet"), size=(8, 5)).train
    arrays = load_data(str(tmp_path / "a.npz"), size=(8, 5)).train
    assert torch.equal(files.rows, arrays.rows)
    assert (files.images.int() - arrays.images.int()).abs().max() <= 1
    square = np.stack([pixels(0, i, (12, 12)) for i in range(10)])
    np.savez(tmp_path / "b.npz", x=square, y=np.arange(10) % 2)
    reduced = load_data(str(tmp_path / "b.npz"), size=(5, 5)).train
    for image, row in zip(reduced.images, reduced.rows, strict=True):
        expected = np.asarray(Image.fromarray(square[row]).resize((5, 5), Image.Resampling.BILINEAR))
        assert np.abs(image.permute(1, 2, 0).numpy().astype(int) - expected).max() <= 1


def test_another_aspect_ratio_is_cut_to_the_centre_and_not_squeezed(tmp_path: Path) -> None:
    wide = np.zeros((8, 24, 3), np.uint8)
    wide[:, 8:16] = 200
    rows: list[tuple[bytes | None, int | None]] = [(png(wide), i % 2) for i in range(10)]
    write_parquet(tmp_path / "a.parquet", rows)
    np.savez(tmp_path / "a.npz", x=np.stack([wide] * 10), y=np.arange(10) % 2)
    for source in ("a.parquet", "a.npz"):
        assert torch.all(load_data(str(tmp_path / source), size=(4, 4)).train.images == 200)


def test_mixed_sizes_are_an_error_that_names_two_files_and_a_way_out(tmp_path: Path) -> None:
    write_folder(tmp_path, {"a": 8, "b": 8})
    Image.fromarray(pixels(0, 0, (9, 7))).save(tmp_path / "b" / "005.png")
    with pytest.raises(DataError, match=r"b/005\.png: is 9x7 .*where .*\.png is 6x6.*size"):
        load_data(str(tmp_path))
    assert str(load_data(str(tmp_path), size=(6, 6)).input) == "3x6x6"


def test_the_majority_decides_between_grey_and_colour_and_channels_overrules_it(tmp_path: Path) -> None:
    write_folder(tmp_path, {"a": 8, "b": 8})
    Image.fromarray(pixels(0, 99)[..., 0]).save(tmp_path / "a" / "000.png")
    assert load_data(str(tmp_path)).input.channels == 3
    assert load_data(str(tmp_path), channels=1).input.channels == 1
    for i in range(8):
        Image.fromarray(pixels(0, i)[..., 0]).save(tmp_path / "a" / f"{i:03}.png")
        if i:
            Image.fromarray(pixels(1, i)[..., 0]).save(tmp_path / "b" / f"{i:03}.png")
    assert load_data(str(tmp_path)).input.channels == 1


def test_arrays_and_files_turn_colour_into_the_same_grey(tmp_path: Path) -> None:
    images = np.stack([pixels(i % 2, i) for i in range(10)])
    np.savez(tmp_path / "a.npz", x=images, y=np.arange(10) % 2)
    write_parquet(tmp_path / "a.parquet", [(png(image), i % 2) for i, image in enumerate(images)])
    array, file = (load_data(str(tmp_path / s), channels=1).train.images.int() for s in ("a.npz", "a.parquet"))
    assert (array - file).abs().max() <= 1


def test_a_photograph_lying_on_its_side_is_turned_as_its_camera_noted(tmp_path: Path) -> None:
    write_folder(tmp_path, {"a": 8, "b": 8}, (6, 8))
    turned = Image.fromarray(np.rot90(pixels(0, 0, (6, 8))))
    exif = Image.Exif()
    exif[0x0112] = 6  # "rotate by 90 degrees clockwise to show"
    turned.save(tmp_path / "a" / "000.png", exif=exif)
    assert pixels(0, 0, (6, 8)).transpose(2, 0, 1).tobytes() in set().union(*splits(load_data(str(tmp_path))))


# --------------------------------------------------------------------------- faults


def damaged_folder(tmp_path: Path) -> Path:
    write_folder(tmp_path, {"a": 12, "b": 12})
    whole = (tmp_path / "a" / "003.png").read_bytes()
    (tmp_path / "a" / "003.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "b" / "004.png").write_bytes(b"<html>not found</html>")
    return tmp_path


def test_a_damaged_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"(a/003\.png: cannot be decoded|b/004\.png: is no image).*skip_bad"):
        load_data(str(damaged_folder(tmp_path)))


def test_skipped_files_are_reported_and_nothing_else_is_lost(tmp_path: Path) -> None:
    data = load_data(str(damaged_folder(tmp_path)), skip_bad=True)
    assert len(data.train) + len(data.validation) + len(data.test) == 22
    assert len(data.skipped) == 2
    assert {Path(line.split(":")[0]).name for line in data.skipped} == {"003.png", "004.png"}
    assert set().union(*splits(data)) == {
        pixels(label, i).transpose(2, 0, 1).tobytes()
        for label in (0, 1)
        for i in range(12)
        if (label, i) not in ((0, 3), (1, 4))
    }


@pytest.mark.filterwarnings("ignore")  # Pillow warns of the damage it can read past
@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF"])
def test_damage_at_any_place_of_a_file_ends_in_a_report_and_never_in_another_error(tmp_path: Path, form: str) -> None:
    from io import BytesIO

    rng = np.random.default_rng(0)
    buffer = BytesIO()
    Image.fromarray(pixels(0, 0, (16, 16))).save(buffer, form)
    rows: list[tuple[bytes | None, int | None]] = [(buffer.getvalue(), i % 2) for i in range(20)]
    for i in range(300):
        broken = bytearray(buffer.getvalue())
        for place in rng.integers(0, len(broken) if i % 2 else min(64, len(broken)), 1 + i % 5):
            broken[place] = rng.integers(256)
        rows.append((bytes(broken[: rng.integers(len(broken))] if i % 3 == 0 else broken), i % 2))
    write_parquet(tmp_path / "a.parquet", rows)
    data = load_data(str(tmp_path / "a.parquet"), skip_bad=True, size=(16, 16))
    assert len(data.train) + len(data.validation) + len(data.test) + len(data.skipped) == 320
    assert data.skipped


def test_a_decompression_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    write_folder(tmp_path, {"a": 8, "b": 8})
    Image.fromarray(pixels(0, 0, (20, 20))).save(tmp_path / "a" / "000.png")
    with pytest.raises(DataError, match=r"a/000\.png: cannot be decoded: .*bomb"):
        load_data(str(tmp_path), size=(6, 6))


def test_images_with_more_than_8_bits_are_refused_and_not_clipped(tmp_path: Path) -> None:
    write_folder(tmp_path, {"a": 8, "b": 8})
    Image.fromarray(np.full((6, 6), 40_000, np.uint16)).save(tmp_path / "a" / "000.png")
    with pytest.raises(DataError, match=r"a/000\.png: has more than 8 bits"):
        load_data(str(tmp_path))


def one_class(root: Path) -> None:
    write_folder(root, {"a": 8})


def empty_class(root: Path) -> None:
    write_folder(root, {"a": 8, "b": 8, "c": 0})


def class_missing_in_test(root: Path) -> None:
    write_folder(root / "train", {"a": 8, "b": 8})
    write_folder(root / "test", {"a": 8})


def class_only_in_test(root: Path) -> None:
    write_folder(root / "train", {"a": 8, "b": 8})
    write_folder(root / "test", {"a": 8, "b": 8, "c": 8})


def no_training_split(root: Path) -> None:
    write_folder(root / "test", {"a": 8, "b": 8})


def stray_folder(root: Path) -> None:
    write_folder(root / "train", {"a": 8, "b": 8})
    write_folder(root / "extra", {"a": 8, "b": 8})


def tiny_class(root: Path) -> None:
    write_folder(root, {"a": 8, "b": 1})


def label_above(root: Path) -> None:
    write_parquet(root / "train.parquet", [*encoded_rows(20), (png(pixels(0, 0)), 7)], {"classes": "cat,dog"})


def label_missing(root: Path) -> None:
    write_parquet(root / "train.parquet", [*encoded_rows(20), (png(pixels(0, 0)), None)])


def label_gap(root: Path) -> None:
    write_parquet(root / "train.parquet", [*encoded_rows(20), (png(pixels(0, 0)), 10**12)])


def bytes_missing(root: Path) -> None:
    write_parquet(root / "train.parquet", [*encoded_rows(20), (None, 1)])


def labels_of_text(root: Path) -> None:
    parquet.write_table(pa.table({"image": [b"x"] * 4, "label": ["cat", "dog"] * 2}), root / "train.parquet")


def no_image_column(root: Path) -> None:
    parquet.write_table(pa.table({"accuracy": [0.1], "label": [1]}), root / "train.parquet")


def file_without_split(root: Path) -> None:
    write_parquet(root / "train.parquet", encoded_rows(20))
    write_parquet(root / "more.parquet", encoded_rows(20))


def broken_parquet(root: Path) -> None:
    (root / "train.parquet").write_bytes(b"PAR1" + bytes(100) + b"PAR1")


def nothing_known(root: Path) -> None:
    (root / "notes.txt").write_text("no images here")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (one_class, r"has 1 class \(a\)"),
        (empty_class, r"/c: is a class folder without images"),
        (class_missing_in_test, r"test split: class 'b' has no image"),
        (class_only_in_test, r"test/c: is no class of .*train"),
        (no_training_split, r"has 'test' but no folder 'train'"),
        (stray_folder, r"extra: stands beside 'train' and is no split"),
        (tiny_class, r"class 'b' has 1 images, it needs 3"),
        (label_above, r"train\.parquet row 20: label 7 is not in 0\.\.1"),
        (label_missing, r"train\.parquet row 20: has no label"),
        (label_gap, r"labels run up to 1000000000000 \(.*row 20\), but no training image has label 2"),
        (bytes_missing, r"train\.parquet row 20: holds no bytes"),
        (labels_of_text, r"labels must be integers.*'label' is string"),
        (no_image_column, r"expected one column of encoded images.*accuracy \(double\)"),
        (file_without_split, r"more\.parquet: neither its name nor its folder"),
        (broken_parquet, r"train\.parquet: cannot be read as parquet"),
        (nothing_known, r"no known layout of images; found notes\.txt(.|\n)*FOLDER/CLASS"),
    ],
)
def test_bad_sources_are_errors_that_say_where_and_what(
    tmp_path: Path, make: Callable[[Path], None], message: str
) -> None:
    make(tmp_path)
    with pytest.raises(DataError, match=message):
        load_data(str(tmp_path))


@pytest.mark.parametrize(
    "make", [empty_class, class_missing_in_test, class_only_in_test, label_above, label_missing, bytes_missing]
)
def test_faults_of_single_images_or_classes_can_be_skipped_and_are_reported(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    make(tmp_path)
    data = load_data(str(tmp_path), skip_bad=True)
    assert len(data.classes) == 2
    assert len(data.skipped) == 1


def test_a_missing_path_lists_what_is_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no such file or folder(.|\n)*digits(.|\n)*\.npz"):
        load_data(str(tmp_path / "nowhere"))


def test_files_that_are_no_images_or_of_no_class_are_left_out_and_listed_one_by_one(tmp_path: Path) -> None:
    write_folder(tmp_path, {"a": 8, "b": 8})
    for name in ("boxes.txt", "areas.txt"):
        (tmp_path / "a" / name).write_text("1 2 3 4")
    (tmp_path / "a" / ".DS_Store").write_bytes(b"x")
    (tmp_path / "a" / "000.png").rename(tmp_path / "loose.png")
    assert load_data(str(tmp_path)).skipped == (
        f"{tmp_path / 'a' / 'areas.txt'}: is no image",
        f"{tmp_path / 'a' / 'boxes.txt'}: is no image",
        f"{tmp_path / 'loose.png'}: stands in no class folder",
    )


IMAGES = np.zeros((10, 6, 6, 3), np.uint8)
LABELS = np.arange(10) % 2


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": IMAGES, "y": LABELS / 2}, "labels must be integers"),
        ({"x": IMAGES, "y": np.eye(10)[:, :2]}, "one integer label an image"),
        ({"x": IMAGES, "y": LABELS[:9]}, "10 images but 9 labels"),
        ({"x": IMAGES, "y": LABELS - 1}, "row 0: has no label"),
        ({"x": IMAGES[:0], "y": LABELS[:0]}, "holds no images"),
        ({"x": np.zeros((10, 3, 6, 3)), "y": LABELS}, "ambiguous"),
        ({"x": np.zeros((10, 6, 6, 5)), "y": LABELS}, "give channels"),
        ({"x": IMAGES.astype(np.int64) + 300, "y": LABELS}, r"must lie in 0\.\.255, found 300"),
        ({"x": np.full((10, 6, 6), np.nan), "y": LABELS}, "NaN"),
        ({"x": np.array([None] * 10), "y": LABELS}, "without unpickling"),
        ({"a": IMAGES}, "expected arrays x and y.*found a"),
    ],
)
def test_bad_arrays_are_errors(tmp_path: Path, arrays: dict[str, NDArray[np.generic]], message: str) -> None:
    np.savez(tmp_path / "a.npz", **arrays)  # type: ignore[arg-type]
    with pytest.raises(DataError, match=message):
        load_data(str(tmp_path / "a.npz"))


def test_rows_with_nan_can_be_skipped(tmp_path: Path) -> None:
    images = np.random.default_rng(0).normal(size=(20, 6, 6))
    images[4, 2, 2] = np.nan
    images[9, 0, 0] = np.inf
    np.savez(tmp_path / "a.npz", x=images, y=np.arange(20) % 2)
    data = load_data(str(tmp_path / "a.npz"), skip_bad=True)
    assert {line.split("row ")[1].split(":")[0] for line in data.skipped} == {"4", "9"}
    assert all(torch.isfinite(split.images).all() for split in (data.train, data.validation, data.test))


def test_other_numbers_of_channels_are_read_when_asked_for(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.zeros((10, 6, 7, 5), np.uint8), y=LABELS)
    assert str(load_data(str(tmp_path / "a.npz"), channels=5).input) == "5x6x7"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: data[:-3], "its header says 360 bytes of shape .10, 6, 6., it holds 357"),
        (lambda data: b"\x00\x00\x0d\x03" + data[4:], "is no IDX file of unsigned bytes"),
        (lambda data: data[:6], "ends inside its header"),
    ],
)
def test_damaged_idx_files_are_errors(tmp_path: Path, damage: Callable[[bytes], bytes], message: str) -> None:
    write_idx(tmp_path / "train-images-idx3-ubyte", IMAGES[..., 0])
    write_idx(tmp_path / "train-labels-idx1-ubyte", LABELS.astype(np.uint8))
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=message):
        load_data(str(tmp_path))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"validation": 1.5}, "validation=1.5: expected the share"),
        ({"test": 0.0}, "test=0.0: expected the share"),
        ({"limit": 12}, "cannot split off 12"),
        ({"size": (0, 8)}, "positive height and width"),
        ({"channels": 4}, "holds 1 channels, which cannot be converted to 4"),
    ],
)
def test_impossible_options_are_errors(options: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        load_data("digits", **options)  # type: ignore[arg-type]

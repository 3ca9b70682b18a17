"""Custom data: arrays in a file, images in folders."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fornada.errors import InputError, UsageError
from trainer.data.custom import load_custom

_RNG = np.random.default_rng(0)


def _npz(folder: Path, **arrays: Any) -> Path:
    path = folder / "mine.npz"
    np.savez(path, **arrays)
    return path


def _image(path: Path, value: int, *, size: tuple[int, int] = (6, 4), mode: str = "L") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, value if mode == "L" else (value, 0, 0)).save(path)


def test_split_arrays_are_taken_as_they_are(tmp_path: Path) -> None:
    x, y = _RNG.integers(0, 256, (5, 3, 3), np.uint8), np.array([0, 1, 2, 1, 0])
    path = _npz(tmp_path, x_train=x[:3], y_train=y[:3], x_test=x[3:], y_test=y[3:])

    dataset = load_custom(path)

    assert ("mine", "probabilities", ["0", "1", "2"]) == (
        dataset.name,
        dataset.kind,
        dataset.classes,
    )
    np.testing.assert_array_equal(x[:3], dataset.train_items)
    np.testing.assert_array_equal(y[3:], dataset.test_targets)
    assert np.int64 == dataset.test_targets.dtype


def test_unsplit_arrays_get_a_fixed_split(tmp_path: Path) -> None:
    x, y = np.arange(40, dtype=np.float64).reshape(20, 2), np.arange(20) % 2
    path = _npz(tmp_path, x=x, y=y, classes=np.array(["no", "yes"]))

    first, second = load_custom(path), load_custom(path)

    assert ((16, 2), (4, 2)) == (first.train_items.shape, first.test_items.shape)
    assert ("float32", ["no", "yes"]) == (first.item_dtype, first.classes)
    assert first.train_sha256 == second.train_sha256
    joined = np.concatenate([first.train_items, first.test_items])
    np.testing.assert_array_equal(x, joined[np.argsort(joined[:, 0])])
    for items, targets in (
        (first.train_items, first.train_targets),
        (first.test_items, first.test_targets),
    ):
        np.testing.assert_array_equal(items[:, 0] / 2 % 2, targets)


def test_fractions_are_values_and_whole_numbers_tokens(tmp_path: Path) -> None:
    path = _npz(tmp_path, x=np.ones((10, 4), np.int64), y=np.linspace(0, 1, 10).reshape(10, 1))

    dataset = load_custom(path)

    assert ("values", ["value"], "int32") == (
        dataset.kind,
        dataset.classes,
        dataset.item_dtype,
    )
    assert ((8,), np.float32) == (dataset.train_targets.shape, dataset.train_targets.dtype)


def test_arrays_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    x, y = np.ones((4, 2)), np.arange(4)
    cases: list[tuple[dict[str, Any], str]] = [
        ({"x": x}, "has no x_train, y_train, x_test, y_test"),
        ({"x": x, "y": y[:3]}, "there are 4 items and 3 targets"),
        ({"x": x, "y": np.array([0, 1, 2, -1])}, "not whole numbers from 0"),
        ({"x": x, "y": np.array(["a"] * 4)}, "y_train is <U1"),
        ({"x": x * np.nan, "y": y}, "NaN or infinity among its items"),
        ({"x": x, "y": np.array([0.5, np.inf, 1, 2])}, "NaN or infinity among its targets"),
        ({"x": np.full((4, 2), 2**40), "y": y}, "give uint8 pixels"),
        ({"x": np.ones(4), "y": y}, "items of shape"),
        ({"x": x[:0], "y": y[:0]}, "0 items"),
        ({"x": x, "y": y, "classes": np.array(["caf\udce9", "tea"])}, "names that are not UTF-8"),
        ({"x": np.array([{}, {}]), "y": y[:2]}, "Python objects, which are never loaded"),
    ]
    for arrays, fact in cases:
        with pytest.raises(InputError, match=fact):
            load_custom(_npz(tmp_path, **arrays))


def test_a_file_that_claims_too_much_is_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "bomb.npz"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(5):
            archive.writestr(f"x{number}.npy", b"little")
        for info in archive.infolist():
            # Written to the central directory, which is what a reader goes by.
            info.file_size = 4 * 10**9

    with pytest.raises(InputError, match=r"unpacks to .* bytes, over"):
        load_custom(path)


def test_a_file_that_is_not_npz_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.npz"
    for data in (b"", b"PK\3\4 no zip", b"\x93NUMPY"):
        path.write_bytes(data)

        with pytest.raises(InputError, match=r"cannot be read as a \.npz file"):
            load_custom(path)


def test_folders_of_images_are_classes(tmp_path: Path) -> None:
    folder = tmp_path / "pets"
    for number in range(5):
        _image(folder / "dog" / f"{number}.png", 200 + number)
        _image(folder / "cat" / "more" / f"{number}.jpg", 20)
    (folder / "cat" / ".hidden.png").write_bytes(b"?")
    (folder / "notes.txt").write_text("not an image")

    dataset = load_custom(folder)

    assert ("pets", ["cat", "dog"], (4, 6)) == (dataset.name, dataset.classes, dataset.item_shape)
    assert (8, 2) == (len(dataset.train_items), len(dataset.test_items))
    for items, targets in (
        (dataset.train_items, dataset.train_targets),
        (dataset.test_items, dataset.test_targets),
    ):
        np.testing.assert_array_equal(items.mean(axis=(1, 2)) > 100, targets == 1)


def test_train_and_test_folders_are_kept(tmp_path: Path) -> None:
    for split, count in (("train", 3), ("test", 1)):
        for name in ("cat", "dog"):
            for number in range(count):
                _image(tmp_path / split / name / f"{number}.png", 9, mode="RGB")

    dataset = load_custom(tmp_path)

    assert ((6, 4, 6, 3), (2, 4, 6, 3)) == (dataset.train_items.shape, dataset.test_items.shape)


def test_an_image_of_another_size_is_named(tmp_path: Path) -> None:
    _image(tmp_path / "cat" / "1.png", 0)
    _image(tmp_path / "dog" / "2.png", 0, size=(9, 9))

    with pytest.raises(InputError, match=r"2\.png is 9x9 pixels, and the model takes 6x4"):
        load_custom(tmp_path)


def test_folders_without_classes_or_images_are_refused(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    with pytest.raises(InputError, match="has 1 folders; it needs one per class"):
        load_custom(tmp_path)
    (tmp_path / "dog").mkdir()
    with pytest.raises(InputError, match="no PNG or JPEG images"):
        load_custom(tmp_path)


def test_a_class_missing_from_training_is_refused(tmp_path: Path) -> None:
    for folder in ("train/cat", "train/dog", "test/cat", "test/cow"):
        _image(tmp_path / folder / "1.png", 0)

    with pytest.raises(InputError, match="has the class 'cow'"):
        load_custom(tmp_path)


def test_other_kinds_of_files_are_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"neither a folder of images nor a \.npz file"):
        load_custom(tmp_path / "data.csv")

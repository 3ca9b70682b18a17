"""Custom data: arrays in a file."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fornada.errors import InputError, UsageError
from trainer.data.custom import load_custom
from trainer.data.folder import FolderOptions

_RNG = np.random.default_rng(0)


def _npz(folder: Path, **arrays: Any) -> Path:
    path = folder / "mine.npz"
    np.savez(path, **arrays)
    return path


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


def test_rows_of_0_and_1_are_labels_that_apply_together_or_one_hot_classes(tmp_path: Path) -> None:
    x = np.ones((10, 4), np.float32)
    labels = np.tile([[1, 1, 0], [0, 0, 0]], (5, 1))
    for y, kind, targets in (
        (labels, "multilabel", labels),
        (labels.astype(bool), "multilabel", labels),
        (np.tile(np.eye(2), (5, 1)), "binary", np.tile([0, 1], 5)),
        (np.tile(np.eye(5, dtype=np.float32), (2, 1)), "probabilities", np.tile(np.arange(5), 2)),
        (np.tile([[0.5, 1]], (10, 1)), "values", np.tile([[0.5, 1]], (10, 1))),
        (np.arange(10) % 2 == 1, "binary", np.arange(10) % 2),
    ):
        path = _npz(tmp_path, x_train=x, y_train=y, x_test=x, y_test=y)

        dataset = load_custom(path)

        assert kind == dataset.kind
        np.testing.assert_array_equal(targets, dataset.test_targets)
        assert (1 if kind == "binary" else len(dataset.classes)) == dataset.output_count


def test_rows_of_another_length_than_the_classes_are_refused(tmp_path: Path) -> None:
    x, y = np.ones((4, 2)), np.ones((4, 3), int)

    with pytest.raises(InputError, match="4 items and targets of shape"):
        load_custom(_npz(tmp_path, x_train=x, y_train=y, x_test=x, y_test=y, classes=["a", "b"]))


def test_other_kinds_of_files_are_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no folder of images or texts, \.npz file or table"):
        load_custom(tmp_path / "data.txt")
    arrays = _npz(tmp_path, x=np.ones((4, 2)), y=np.arange(4))
    with pytest.raises(UsageError, match="is not a folder of images; leave out --image-size"):
        load_custom(arrays, FolderOptions(size=(9, 9)))

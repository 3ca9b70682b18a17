"""Files appear whole or not at all, and bad ones are named."""

from pathlib import Path

import numpy as np
import pytest

from fornada.errors import InputError, LocalDiskError
from trainer.data.files import (
    find_items,
    find_targets,
    read_array,
    read_classes,
    write_dataset,
    write_file,
)

_IMAGES = np.arange(12, dtype=np.uint8).reshape(3, 2, 2)
_LABELS = np.array([0, 1, 1])


def test_a_written_data_set_is_read_back(tmp_path: Path) -> None:
    paths = write_dataset(
        tmp_path / "new" / "d", items=_IMAGES, targets=_LABELS, classes=["a", "é"]
    )

    assert ["images.npy", "labels.npy", "classes.json"] == [path.name for path in paths]
    np.testing.assert_array_equal(_IMAGES, read_array(paths[0]))
    np.testing.assert_array_equal(_LABELS, np.load(paths[1], allow_pickle=False))
    assert ["a", "é"] == read_classes(paths[2])
    assert 3 == len(list((tmp_path / "new" / "d").iterdir()))


def test_vectors_and_values_have_names_of_their_own(tmp_path: Path) -> None:
    features, prices = np.zeros((3, 13), np.float32), np.zeros(3, np.float32)

    paths = write_dataset(tmp_path, items=features, targets=prices, classes=["price"])

    assert ["items.npy", "targets.npy", "classes.json"] == [path.name for path in paths]
    assert paths[0] == find_items(tmp_path)
    assert paths[0] == find_items(paths[0])
    assert paths[1] == find_targets(paths[0])


def test_two_data_sets_in_one_folder_are_not_mixed_up(tmp_path: Path) -> None:
    write_dataset(tmp_path, items=_IMAGES, targets=_LABELS, classes=["a", "b"])
    vectors = np.zeros((3, 2), np.float32)
    write_dataset(tmp_path, items=vectors, targets=vectors[:, 0], classes=["price"])

    with pytest.raises(InputError, match=r"holds images.npy and items.npy, of two data sets"):
        find_items(tmp_path)
    with pytest.raises(InputError, match=r"holds labels.npy and targets.npy"):
        find_targets(tmp_path / "items.npy")


def test_a_full_device_is_one_line_and_stays_a_device() -> None:
    device = Path("/dev/full")
    if not device.is_char_device():
        pytest.skip("this system has no /dev/full")

    with pytest.raises(LocalDiskError, match=r"/dev/full cannot be written \(No space left"):
        write_file(device, b"x")

    assert device.is_char_device()


def test_a_folder_that_cannot_be_created_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(LocalDiskError, match=r"file/d cannot be written \(Not a directory\)"):
        write_dataset(tmp_path / "file" / "d", items=_IMAGES, targets=_LABELS, classes=["a"])


def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "picture.png"
    path.write_bytes(b"old")

    def fail(self: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", fail)

    with pytest.raises(LocalDiskError, match="No space left"):
        write_file(path, b"new")

    assert [path] == list(tmp_path.iterdir())
    assert b"old" == path.read_bytes()


def test_classes_that_are_not_a_list_of_names_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "classes.json"
    for content in ("", "{}", "[]", "[1]", '["a"', "[" * 100_000):
        path.write_text(content)

        with pytest.raises(InputError, match="is not a JSON array of class names"):
            read_classes(path)


def test_missing_files_and_pickled_arrays_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"

    with pytest.raises(InputError, match=r"x\.npy cannot be read \(No such file"):
        read_array(path)
    np.save(path, np.array([{"a": 1}], object), allow_pickle=True)
    with pytest.raises(InputError, match="Python objects"):
        read_array(path)

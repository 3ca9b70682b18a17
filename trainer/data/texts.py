"""Texts in folders: a folder per class with `.txt` files, as Keras's loader of texts takes them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fornada.errors import InputError
from fornada.formats.images import IMAGE_SUFFIXES
from fornada.formats.items import Array
from trainer.data.class_folders import LabelledFile, find_files, read_file, visible_files
from trainer.data.dataset import Dataset, Targets, kind_of_classes

#: Everything is held in memory.
_MAX_BYTES = 4 * 1024**3
_SUFFIX = ".txt"
_REMEDY = "see docs/training.md"


def holds_texts(path: Path) -> bool:
    """Whether a folder has `.txt` files and no images, by their names."""
    suffixes = {file.suffix.lower() for file in visible_files(path)}
    return _SUFFIX in suffixes and suffixes.isdisjoint(IMAGE_SUFFIXES)


def load_texts(path: Path) -> Dataset:
    """Load the `.txt` files below `path`; the data set is named after it.

    `path` has a subfolder per class, or `train` and `test` folders that have these, as
    `keras.utils.text_dataset_from_directory` takes them. Each file is an item: UTF-8 `bytes`.
    Files that are not UTF-8 are left out.

    Raises:
        InputError: There are no classes or no texts, a class of the test split is unknown, or the
            files are too large.
    """
    found = find_files(path, _is_text, what="a .txt file")
    left_out = found.left_out
    files = [*found.train, *found.test]
    size_bytes = sum(file.path.stat().st_size for file in files)
    if size_bytes > _MAX_BYTES:
        raise InputError(
            f"the texts of {path} take {size_bytes / 1e9:.1f} GB, over {_MAX_BYTES / 1e9:.1f} GB; "
            "train on some of them"
        )
    (train_items, train_targets), (test_items, test_targets) = (
        _read(split, left_out) for split in (found.train, found.test)
    )
    if 0 in {len(train_items), len(test_items)}:
        raise InputError(
            f"{path} has {len(train_items)} texts to train on and {len(test_items)} to test on; "
            f"give more; {_REMEDY}"
        )
    return Dataset(
        name=path.resolve().name,
        kind=kind_of_classes(found.classes),
        train_items=train_items,
        train_targets=train_targets,
        test_items=test_items,
        test_targets=test_targets,
        classes=found.classes,
        left_out=left_out,
    )


def _is_text(path: Path) -> bool:
    return path.suffix.lower() == _SUFFIX


def _read(files: Sequence[LabelledFile], left_out: dict[str, str]) -> tuple[Array, Targets]:
    """The texts and labels of the files that are UTF-8; the others are added to `left_out`."""
    texts: list[bytes] = []
    labels: list[int] = []
    for file in files:
        try:
            # Without the mark with which editors begin a file.
            texts.append(read_file(file.path).decode("utf-8-sig").encode())
        except UnicodeDecodeError:
            left_out[str(file.path)] = f"{file.path} is not UTF-8"
            continue
        labels.append(file.label)
    items: Array = np.full(len(texts), b"", object)
    items[:] = texts
    targets: NDArray[np.int64] = np.array(labels, np.int64)
    return items, targets

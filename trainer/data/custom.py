"""Custom data: a table, a `.npz` file of arrays, or a folder of photographs or texts by class."""

import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fornada.errors import InputError, UsageError
from fornada.formats.items import Array
from fornada.formats.npy import from_npy
from trainer.data.dataset import Dataset, TargetKind, Targets, fixed_split, kind_of_classes
from trainer.data.folder import FolderOptions, load_folder
from trainer.data.table import TableOptions, load_table
from trainer.data.table_file import is_table
from trainer.data.texts import holds_texts, load_texts

#: Largest size of an unpacked file; everything is held in memory.
_MAX_BYTES = 16 * 1024**3
_SPLITS = ("train", "test")
_REMEDY = "see docs/training.md"


def load_custom(
    path: Path, options: FolderOptions | None = None, *, table: TableOptions | None = None
) -> Dataset:
    """Load the data set in `path`; it is named after it.

    A `.npz` file has `x_train`, `y_train`, `x_test` and `y_test`, or `x` and `y`, a fifth of which
    becomes the test split, chosen by a fixed seed. Whole numbers in y are classes, counted from 0,
    which `classes` may name; fractions are values to predict. A row of 0 and 1 per item says which
    classes apply. For a folder see `load_folder` and
    `load_texts`, for a table `load_table`.

    Args:
        path: The file or folder.
        options: How photographs become items; of a folder only.
        table: What is learned from a table; of a table only.

    Raises:
        InputError: The files cannot be read, or do not fit together.
        UsageError: It is none of these, or not what `options` or `table` are for.
        MissingExtraError: pyarrow is not installed, for a table.
    """
    if options is None and is_table(path):
        if table is None:
            raise UsageError(f"{path} is a table; name the column to predict with --target")
        return load_table(path, table)
    if table is not None:
        raise UsageError(f"{path} is no table; leave out --target, --drop and --kind")
    if options is None and path.is_dir() and holds_texts(path):
        dataset = load_texts(path)
        _check_names(dataset, path)
        return dataset
    if path.is_dir():
        dataset = load_folder(path, options or FolderOptions())
    elif options is not None:
        raise UsageError(
            f"{path} is not a folder of images; leave out --image-size, --resize and --strict"
        )
    elif path.suffix == ".npz":
        dataset = _from_npz(path)
    else:
        raise UsageError(
            f"{path} is no folder of images or texts, .npz file or table (CSV, Parquet); {_REMEDY}"
        )
    _check_names(dataset, path)
    _check(dataset, path)
    return dataset


def _from_npz(path: Path) -> Dataset:
    arrays = _npz_arrays(path)
    if {"x", "y"} <= arrays.keys():
        arrays |= fixed_split(arrays["x"], arrays["y"])
    wanted = [f"{axis}_{split}" for split in _SPLITS for axis in "xy"]
    missing = [name for name in wanted if name not in arrays]
    if missing:
        raise InputError(
            f"{path} has no {', '.join(missing)}; it needs {', '.join(wanted)}, or x and y"
        )
    kind, targets = _targets([arrays[f"y_{split}"] for split in _SPLITS], path)
    classes = _classes(arrays.get("classes"), kind, targets)
    return Dataset(
        name=path.stem,
        kind=kind_of_classes(classes) if kind == "probabilities" else kind,
        train_items=_items(arrays["x_train"], f"{path}:x_train"),
        train_targets=targets[0],
        test_items=_items(arrays["x_test"], f"{path}:x_test"),
        test_targets=targets[1],
        classes=classes,
    )


def _npz_arrays(path: Path) -> dict[str, Array]:
    try:
        with zipfile.ZipFile(path) as archive:
            members = [info for info in archive.infolist() if info.filename.endswith(".npy")]
            claimed = sum(info.file_size for info in members)
            if claimed > _MAX_BYTES:
                raise InputError(
                    f"{path} unpacks to {claimed} bytes, over {_MAX_BYTES}; train on a part of it"
                )
            return {
                info.filename.removesuffix(".npy"): from_npy(
                    archive.read(info), where=f"{path}:{info.filename}"
                )
                for info in members
            }
    except (OSError, zipfile.BadZipFile, EOFError) as exc:
        raise InputError(
            f"{path} cannot be read as a .npz file ({exc}); write it with numpy.savez"
        ) from exc


def _items(array: Array, where: str) -> Array:
    """The items in a dtype that models take, if no value is lost."""
    match array.dtype.kind:
        case "f":
            return np.ascontiguousarray(array, np.float32)
        case "u" | "i" if array.dtype == np.uint8:
            return np.ascontiguousarray(array)
        case "u" | "i" if array.size and np.abs(array).max() < 2**31:
            return np.ascontiguousarray(array, np.int32)
    raise InputError(
        f"{where} is {array.dtype} {array.shape}; give uint8 pixels, float vectors or int tokens"
    )


def _targets(given: Sequence[Array], path: Path) -> tuple[TargetKind, list[Targets]]:
    """What the targets are, and those of each split."""
    for split, array in zip(_SPLITS, given, strict=True):
        if array.dtype.kind not in "biuf" or array.ndim not in {1, 2}:
            raise InputError(
                f"{path}:y_{split} is {array.dtype} {array.shape}; give whole numbers for classes, "
                "a row of 0 and 1 for classes that apply together, or fractions for values"
            )
    # Accept a column of targets.
    both = [array[:, 0] if array.shape[1:] == (1,) else array for array in given]
    if all(array.ndim == 2 and np.isin(array, (0, 1)).all() for array in both):  # noqa: PLR2004 - axes
        if all((array.sum(axis=1) == 1).all() for array in both):
            return "probabilities", [array.argmax(axis=1).astype(np.int64) for array in both]
        return "multilabel", [array.astype(np.int64) for array in both]
    if any(array.dtype.kind == "f" for array in both):
        return "values", [array.astype(np.float32) for array in both]
    return "probabilities", [array.astype(np.int64) for array in both]


def _classes(named: Array | None, kind: TargetKind, targets: Sequence[Targets]) -> list[str]:
    if named is not None:
        return [str(name) for name in named.ravel()]
    if targets[0].ndim > 1:
        return [str(number) for number in range(targets[0].shape[1])]
    if kind == "values":
        return ["value"]
    highest = max((int(target.max()) for target in targets if target.size), default=0)
    return [str(number) for number in range(1 + highest)]


def _check_names(dataset: Dataset, path: Path) -> None:
    names = [dataset.name, *dataset.classes]
    if any("\ud800" <= letter <= "\udfff" for name in names for letter in name):
        # A manifest cannot hold them; Python reads undecodable file names so.
        raise InputError(f"{path} has names that are not UTF-8; rename its files; {_REMEDY}")


def _check(dataset: Dataset, path: Path) -> None:
    for split, (items, targets) in dataset.splits.items():
        fact = None
        shape = (len(items), *_target_shape(dataset))
        if len(items) == 0 or targets.shape != shape:
            fact = f"{len(items)} items and targets of shape {targets.shape}"
        elif items.ndim < 2 or items.shape[1:] != dataset.item_shape:  # noqa: PLR2004 - axes
            fact = f"items of shape {items.shape[1:]}, not {dataset.item_shape} as in training"
        elif items.dtype.kind == "f" and not np.isfinite(items).all():
            fact = "NaN or infinity among its items"
        elif dataset.kind == "values" and not np.isfinite(targets).all():
            fact = "NaN or infinity among its targets"
        elif dataset.kind != "values" and not _are_labels(targets, dataset):
            fact = f"targets that are not whole numbers from 0 to {len(dataset.classes) - 1}"
        if fact is not None:
            raise InputError(f"the {split} split of {path} has {fact}; {_REMEDY}")


def _target_shape(dataset: Dataset) -> tuple[int, ...]:
    """The shape of one target."""
    count = len(dataset.classes)
    is_row = dataset.kind == "multilabel" or (dataset.kind == "values" and count > 1)
    return (count,) if is_row else ()


def _are_labels(targets: Array, dataset: Dataset) -> bool:
    end = 2 if dataset.kind == "multilabel" else len(dataset.classes)
    return targets.dtype.kind in "iu" and int(targets.min()) >= 0 and int(targets.max()) < end

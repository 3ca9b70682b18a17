"""Files of the training commands: arrays, class names, images."""

import json
import uuid
from pathlib import Path

from fornada.errors import InputError, LocalDiskError
from fornada.files.refusals import what_helps
from fornada.formats.items import Array
from fornada.formats.npy import from_npy, to_npy
from trainer.data.images import are_images

#: Items that are images, and others; positions of classes, and values of a regression.
IMAGES, ITEMS, LABELS, TARGETS = "images.npy", "items.npy", "labels.npy", "targets.npy"
#: Names of the classes, or of the predicted value.
CLASSES = "classes.json"
#: Files being written, or left by a killed process.
PARTS = ".fornada-*.part"
_MAX_CLASSES_BYTES = 10 * 1024 * 1024


def write_dataset(folder: Path, *, items: Array, targets: Array, classes: list[str]) -> list[Path]:
    """Write items, targets and `classes.json` to `folder`; return their paths.

    Images go to `images.npy`, other items to `items.npy`; classes to `labels.npy`, values to
    `targets.npy`.

    Raises:
        LocalDiskError: The disk is full or refuses.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise _disk_error(folder, exc) from exc
    contents = {
        folder / (IMAGES if are_images(items) else ITEMS): to_npy(items),
        folder / (TARGETS if targets.dtype.kind == "f" else LABELS): to_npy(targets),
        folder / CLASSES: json.dumps(classes, indent=1, ensure_ascii=False).encode(),
    }
    for path, data in contents.items():
        write_file(path, data)
    return list(contents)


def find_items(path: Path) -> Path:
    """The file of items in a folder of `write_dataset`; a file is returned as it is.

    Raises:
        InputError: There are two.
    """
    return _either(path, IMAGES, ITEMS) if path.is_dir() else path


def find_targets(items: Path) -> Path:
    """The file of targets beside a file of items.

    Raises:
        InputError: There are two.
    """
    return _either(items.parent, LABELS, TARGETS)


def _either(folder: Path, usual: str, other: str) -> Path:
    if (folder / usual).exists() and (folder / other).exists():
        raise InputError(
            f"{folder} holds {usual} and {other}, of two data sets; name the file to use"
        )
    return folder / (other if (folder / other).exists() else usual)


def write_file(path: Path, data: bytes) -> None:
    """Write `data`; a regular file appears under its name only when complete.

    Raises:
        LocalDiskError: The disk is full or refuses.
    """
    try:
        if path.exists() and not path.is_file():
            # A device or pipe is written to, not replaced.
            path.write_bytes(data)
            return
        partial = path.with_name(f".fornada-{uuid.uuid4().hex}.part")
        try:
            partial.write_bytes(data)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as exc:
        raise _disk_error(path, exc) from exc


def read_array(path: Path) -> Array:
    """The array in a `.npy` file.

    Raises:
        InputError: It cannot be read, or is not an array of numbers.
    """
    return from_npy(_read(path), where=str(path))


def read_classes(path: Path) -> list[str]:
    """The class names in a JSON array.

    Raises:
        InputError: It cannot be read, or is not such an array.
    """
    data = _read(path)
    try:
        classes = json.loads(data) if len(data) <= _MAX_CLASSES_BYTES else None
    except (ValueError, RecursionError):
        classes = None
    if (
        not isinstance(classes, list)
        or not classes
        or not all(isinstance(name, str) for name in classes)
    ):
        raise InputError(
            f'{path} is not a JSON array of class names, such as ["cat", "dog"]; '
            "`fornada dataset` writes one"
        )
    return classes


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as exc:
        raise InputError(f"{path} cannot be read ({exc.strerror or exc}); check the path") from exc


def _disk_error(path: Path, exc: OSError) -> LocalDiskError:
    return LocalDiskError(
        f"{path} cannot be written ({exc.strerror or exc}); {what_helps(exc)}, or name another "
        "place"
    )

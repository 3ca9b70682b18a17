"""Photographs in folders: a folder per class, of any size and format, decoded as workers decode."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fornada.errors import InputError
from fornada.formats.images import (
    HEAD_BYTES,
    IMAGE_SUFFIXES,
    decode_item,
    image_shape,
    is_image,
)
from fornada.formats.items import Array
from fornada.tensors import InputTensor
from trainer.data.class_folders import LabelledFile, find_files, read_file
from trainer.data.dataset import (
    Dataset,
    Targets,
    image_preprocessing,
    kind_of_classes,
)

Fit = Literal["stretch", "crop", "pad"]

#: Height and width by default: what most networks of `keras.applications` take.
DEFAULT_SIDE = 224
#: Files whose headers tell whether all are grey, and whether all have one size.
_SAMPLED_FILES = 100
_MAX_BYTES = 16 * 1024**3
_REMEDY = "see docs/training.md"


@dataclass(frozen=True, kw_only=True, slots=True)
class FolderOptions:
    """How photographs in a folder become items."""

    #: Height and width; `None`: the files' own, if all have one and it is small, else 224x224.
    size: tuple[int, int] | None = None
    resize: Fit = "stretch"
    #: Refuse files that are not images, rather than leave them out.
    strict: bool = False
    #: Largest size of all decoded items.
    limit_bytes: int = field(default_factory=lambda: min(_MAX_BYTES, _memory_bytes() // 2))


def load_folder(path: Path, options: FolderOptions) -> Dataset:
    """Load the photographs below `path`; the data set is named after it.

    `path` has a subfolder per class, or `train` and `test` folders that have these; otherwise a
    fifth of the files becomes the test split, the same ones every time. Each file becomes an item
    by `fornada.formats.images.decode_item`, as in a worker.

    Raises:
        InputError: There are no classes or no images; a class of the test split is unknown; the
            decoded items exceed `limit_bytes`; or, if strict, a file is not an image.
        MissingExtraError: Pillow is not installed.
    """
    found = find_files(path, _looks_like_image, what="an image")
    train, test, classes, left_out = found.train, found.test, found.classes, found.left_out
    if not train + test:
        raise InputError(f"{path} has no images in its folders; {_REMEDY}")
    shape = _item_shape([*train, *test], options)
    _check_size(len(train) + len(test), shape, options, path)
    image = image_preprocessing(shape, resize=options.resize)
    taken = InputTensor(name="images", dtype="uint8", shape=list(shape), image=image)
    if options.strict and left_out:
        raise InputError(f"{next(iter(left_out.values()))}; leave out --strict to train without it")
    (train_items, train_targets), (test_items, test_targets) = (
        _decoded(files, taken, left_out, strict=options.strict) for files in (train, test)
    )
    return Dataset(
        name=path.resolve().name,
        kind=kind_of_classes(classes),
        train_items=train_items,
        train_targets=train_targets,
        test_items=test_items,
        test_targets=test_targets,
        classes=classes,
        image=image,
        left_out=left_out,
    )


def _looks_like_image(path: Path) -> bool:
    """Whether its name or its first bytes say so."""
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return True
    try:
        with path.open("rb") as stream:
            return is_image(stream.read(HEAD_BYTES))
    except OSError:
        return False


def _item_shape(files: Sequence[LabelledFile], options: FolderOptions) -> tuple[int, ...]:
    """Height and width, and 3 channels unless all files of a sample are grey."""
    step = max(len(files) // _SAMPLED_FILES, 1)
    shapes = [shape for file in files[::step] if (shape := _shape_of(file.path)) is not None]
    channels = () if shapes and all(len(shape) == 2 for shape in shapes) else (3,)  # noqa: PLR2004 - grey
    if options.size is not None:
        return (*options.size, *channels)
    sizes = {shape[:2] for shape in shapes}
    own = next(iter(sizes)) if len(sizes) == 1 else ()
    if own and max(own) <= DEFAULT_SIDE:
        return (*own, *channels)
    return (DEFAULT_SIDE, DEFAULT_SIDE, *channels)


def _shape_of(path: Path) -> tuple[int, ...] | None:
    """The shape that a file's header declares; `None` of a broken one, which decoding reports."""
    try:
        return image_shape(read_file(path), where=str(path))
    except InputError:
        return None


def _check_size(count: int, shape: Sequence[int], options: FolderOptions, path: Path) -> None:
    size_bytes = count * int(np.prod(shape))
    if size_bytes > options.limit_bytes:
        raise InputError(
            f"the {count} images of {path} take {size_bytes / 1e9:.1f} GB of memory at "
            f"{shape[0]}x{shape[1]} pixels, and there is room for "
            f"{options.limit_bytes / 1e9:.1f} GB; give a smaller --image-size, or fewer images"
        )


def _decoded(
    files: Sequence[LabelledFile], taken: InputTensor, left_out: dict[str, str], *, strict: bool
) -> tuple[Array, Targets]:
    """The items and labels of the files that are images; the others are added to `left_out`."""
    items = np.empty((len(files), *taken.fixed_shape), taken.numpy_dtype)
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        reasons = list(pool.map(_decoder(files, taken, items), range(len(files))))
    for file, reason in zip(files, reasons, strict=True):
        if reason is not None:
            left_out[str(file.path)] = reason
            if strict:
                raise InputError(f"{reason}; leave out --strict to train without it")
    kept = np.array([reason is None for reason in reasons], bool)
    labels: NDArray[np.int64] = np.array([file.label for file in files], np.int64)
    # A copy takes as much memory again, so only where files are missing.
    return (items, labels) if kept.all() else (items[kept], labels[kept])


def _decoder(
    files: Sequence[LabelledFile], taken: InputTensor, items: NDArray[Any]
) -> Callable[[int], str | None]:
    """Decodes one file into its row of `items`; returns why it cannot."""

    def decode(row: int) -> str | None:
        path = files[row].path
        try:
            items[row] = decode_item(read_file(path), taken=taken, where=str(path))
        except InputError as exc:
            return str(exc)
        return None

    return decode


def _memory_bytes() -> int:
    """The memory of this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")

"""Folders with a subfolder per class: their files, in two splits."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from fornada.errors import InputError
from trainer.data.dataset import split_order

_SPLITS = ("train", "test")
#: Left by file managers; never looked at, like hidden files.
_LITTER = {"thumbs.db", "desktop.ini", "__macosx"}
_MIN_CLASSES = 2
_REMEDY = "see docs/training.md"


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelledFile:
    """A file of one item."""

    path: Path
    #: Position of its class.
    label: int


@dataclass(frozen=True, kw_only=True, slots=True)
class FoundFiles:
    """The files of a data set."""

    classes: list[str]
    train: list[LabelledFile]
    test: list[LabelledFile]
    #: Files that are no items, with the reason.
    left_out: dict[str, str]


def find_files(path: Path, is_item: Callable[[Path], bool], *, what: str) -> FoundFiles:
    """The files below `path`, which has a subfolder per class, or two splits that have these.

    Without `train` and `test` folders a fifth of the files becomes the test split, the same ones
    every time.

    Args:
        path: The folder.
        is_item: Whether a file is an item.
        what: What an item is, for messages: `an image`.

    Raises:
        InputError: There are no classes, or a class of the test split is unknown.
    """
    splits = [path / split for split in _SPLITS]
    if all(folder.is_dir() for folder in splits):
        classes = _class_names(splits[0])
        train, test = (_listed(folder, classes, is_item, what) for folder in splits)
        return FoundFiles(
            classes=classes,
            train=train.files,
            test=test.files,
            left_out=train.left_out | test.left_out,
        )
    classes = _class_names(path)
    listing = _listed(path, classes, is_item, what)
    train_files, test_files = (
        [listing.files[place] for place in order] for order in split_order(len(listing.files))
    )
    return FoundFiles(
        classes=classes, train=train_files, test=test_files, left_out=listing.left_out
    )


def visible_files(folder: Path) -> Iterator[Path]:
    """All files below `folder`, in the order of their paths."""
    found = []
    for parent, names, files in os.walk(folder):
        # Pruned in place, so that hidden folders are not walked.
        names[:] = [name for name in names if _is_visible(Path(name))]
        found += [Path(parent, name) for name in files if _is_visible(Path(name))]
    yield from sorted(found)


def read_file(path: Path) -> bytes:
    """The bytes of a file.

    Raises:
        InputError: It cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as exc:
        raise InputError(f"{path} cannot be read ({exc.strerror}); check the path") from exc


@dataclass(frozen=True, kw_only=True, slots=True)
class _Listing:
    """The files in the folders of one split."""

    files: list[LabelledFile]
    left_out: dict[str, str]


def _class_names(folder: Path) -> list[str]:
    names = sorted(each.name for each in folder.iterdir() if each.is_dir() and _is_visible(each))
    if len(names) < _MIN_CLASSES:
        raise InputError(
            f"{folder} has {len(names)} folders; it needs one per class, with its files; {_REMEDY}"
        )
    return names


def _listed(
    folder: Path, classes: Sequence[str], is_item: Callable[[Path], bool], what: str
) -> _Listing:
    listing = _Listing(files=[], left_out={})
    for entry in sorted(folder.iterdir()):
        if not _is_visible(entry):
            continue
        if entry.is_dir() and entry.name not in classes:
            raise InputError(
                f"{folder} has the class {entry.name!r}, which is not among {list(classes)}; give "
                "both splits the same classes"
            )
        if entry.is_file() and is_item(entry):
            listing.left_out[str(entry)] = f"{entry} is in no folder of a class"
    for label, name in enumerate(classes):
        for path in visible_files(folder / name):
            if is_item(path):
                listing.files.append(LabelledFile(path=path, label=label))
            else:
                listing.left_out[str(path)] = f"{path} is not {what}"
    return listing


def _is_visible(path: Path) -> bool:
    return not path.name.startswith(".") and path.name.lower() not in _LITTER

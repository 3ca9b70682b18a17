"""Local files, folders and globs: what each path is, and its items in blocks."""

import glob
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, islice, takewhile
from pathlib import Path
from typing import Literal

import numpy as np

from fornada.errors import InputError, UsageError
from fornada.formats.idx import GZIP_MAGIC, IDX_DTYPES
from fornada.formats.images import IMAGE_SUFFIXES, JPEG_MAGIC, PNG_MAGIC, decode_image, image_frame
from fornada.formats.items import Array
from producer.inputs.array_files import FileArray, file_arrays, reading
from producer.inputs.interface import ItemBlock, is_litter

Kind = Literal["npy", "npz", "idx", "image", "bad"]

_IDX_TYPES = [bytes([number]) for number in IDX_DTYPES]
_MAX_IMAGE_FILE_BYTES = 256 * 1024 * 1024
_KINDS_IN_WORDS = ".npy, .npz, IDX (plain or gzip), PNG or JPEG"


@dataclass(frozen=True, kw_only=True, slots=True)
class _File:
    """A file to read."""

    path: Path
    #: The folder that the caller named, or that the glob begins with.
    base: Path
    kind: Kind
    #: Why a bad file cannot be read.
    why: str = ""

    @property
    def is_item(self) -> bool:
        """Whether it is one item, good or bad."""
        return self.kind in {"image", "bad"}


def read_blocks(
    paths: Sequence[str], *, item_shape: Sequence[int], max_block_bytes: int
) -> Iterator[ItemBlock]:
    """The items of all `paths`, in order; every path is checked before the first is read.

    A path is a `.npy`, `.npz`, IDX, PNG or JPEG file, a folder of PNG and JPEG files (searched
    recursively, sorted by name), or a glob of such, `**` included. Among images, a file that is
    none, or is broken, is an item with an error. Hidden files in folders and globs, and those that
    Windows leaves there, are never looked at.

    Arrays alone have no item ids. With an image file among them, every item has one: the file's
    path relative to the folder that all inputs share; for a row of an array `<path>#<row>`, of an
    archive `<path>:<member>#<row>`.

    Args:
        paths: Files, folders and globs.
        item_shape: Shape of one item, as the model takes it.
        max_block_bytes: Size of a block, at most; a larger item is a block by itself.

    Raises:
        InputError: A path is missing or does not fit; or, without an image among them, one is
            empty, damaged or of an unknown kind.
        UsageError: There are no paths.
        LocalDiskError: The disk failed.
    """
    if not paths:
        raise UsageError("no input was given; name files, folders or s3:// URLs")
    files = [file for path in paths for file in _expand(path)]
    images = [file for file in files if file.kind == "image"]
    bad = [file for file in files if file.kind == "bad"]
    if bad and not images:
        raise InputError(bad[0].why)
    if images:
        image_frame(item_shape, where=str(images[0].path))
    bases = [file.base.absolute() for file in files]
    root = Path(os.path.commonpath(bases)) if images else None
    arrays = {
        file: file_arrays(file.path, file.kind, where=_text(file.path))
        for file in files
        if not file.is_item
    }
    reader = _Reader(root=root, item_shape=item_shape, max_block_bytes=max_block_bytes)
    return reader.blocks(files, arrays)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Reader:
    """Reads files in blocks."""

    #: What item ids are relative to; `None` for no ids.
    root: Path | None
    item_shape: Sequence[int]
    max_block_bytes: int

    def blocks(
        self, files: Sequence[_File], arrays: Mapping[_File, list[FileArray]]
    ) -> Iterator[ItemBlock]:
        images_per_block = max(1, self.max_block_bytes // math.prod(self.item_shape))
        for are_images, run in groupby(files, key=lambda file: file.is_item):
            if are_images:
                while some := list(islice(run, images_per_block)):
                    yield self._image_block(some)
                continue
            for file in run:
                for array in arrays[file]:
                    yield from self._array_blocks(array, file)

    def _array_blocks(self, array: FileArray, file: _File) -> Iterator[ItemBlock]:
        ids, first_row = None, 0
        for rows in array.blocks(item_shape=self.item_shape, max_block_bytes=self.max_block_bytes):
            if self.root is not None:
                name = _name(file, self.root) + (f":{array.member}" if array.member else "")
                ids = [f"{name}#{row}" for row in range(first_row, first_row + len(rows))]
            yield ItemBlock(images=rows, item_ids=ids, where=array.header.where)
            first_row += len(rows)

    def _image_block(self, files: Sequence[_File]) -> ItemBlock:
        images = np.zeros((len(files), *self.item_shape), dtype=np.uint8)
        errors: dict[int, str] = {}
        for row, file in enumerate(files):
            try:
                images[row] = self._image(file)
            except InputError as exc:
                errors[row] = str(exc)
        more = f" and {len(files) - 1} more" if len(files) > 1 else ""
        return ItemBlock(
            images=images,
            item_ids=[_name(file, self.root) for file in files] if self.root else None,
            where=f"{_text(files[0].path)}{more}",
            errors=errors,
        )

    def _image(self, file: _File) -> Array:
        if file.kind == "bad":
            raise InputError(file.why)
        where = _text(file.path)
        with reading(where), file.path.open("rb") as stream:
            data = stream.read(_MAX_IMAGE_FILE_BYTES + 1)
        if len(data) > _MAX_IMAGE_FILE_BYTES:
            raise InputError(
                f"{where} has more than {_MAX_IMAGE_FILE_BYTES} bytes, more than an image of a "
                "model's size needs; save it again"
            )
        if not data:
            raise InputError(f"{where} is an empty file; write it again")
        return decode_image(data, item_shape=self.item_shape, where=where)


def _expand(text: str) -> list[_File]:
    """The files that one path means, in order."""
    path = Path(text)
    with reading(_text(path)):
        if path.is_dir():
            return _folder(path, base=path)
        if path.exists() or not glob.has_magic(text):
            return [_file(path, base=path.parent)]
        return _matches(text)


def _matches(pattern: str) -> list[_File]:
    matches = sorted(Path(match) for match in glob.iglob(pattern, recursive=True))  # noqa: PTH207 - Path.glob wants a pattern relative to a folder
    parts = list(takewhile(lambda part: not glob.has_magic(part), Path(pattern).parts))
    base = Path(*parts)
    files: list[_File] = []
    for match in matches:
        if not match.is_dir():
            if not is_litter(match.name):
                files.append(_file(match, base=base))
        elif "**" not in pattern:
            # `**` itself finds what is in a folder.
            files.extend(_folder(match, base=base))
    if not files:
        raise InputError(f"{pattern} matches no files; check the pattern")
    return files


def _folder(folder: Path, *, base: Path) -> list[_File]:
    """All image files in `folder` and below, sorted by name."""
    files: list[_File] = []
    for parent, folders, names in os.walk(folder, onerror=_raise):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in folders:
            link = Path(parent, name)
            if link.is_symlink():
                raise InputError(
                    f"{_text(link)} is a link to a folder, and links are not followed; name the "
                    "folder it points to"
                )
        for name in sorted(name for name in names if not is_litter(name)):
            path = Path(parent, name)
            if name.lower().endswith(IMAGE_SUFFIXES):
                files.append(_File(path=path, base=base, kind="image"))
                continue
            why = (
                f"{_text(path)} is not a PNG or JPEG file by its name; move it away, or use a "
                f"glob, e.g. '{_text(folder)}/**/*.png'"
            )
            files.append(_File(path=path, base=base, kind="bad", why=why))
    if not files:
        raise InputError(f"{_text(folder)} holds no PNG or JPEG files; check the path")
    return sorted(files, key=lambda file: file.path)


def _raise(exc: OSError) -> None:
    raise exc


def _file(path: Path, *, base: Path) -> _File:
    """The file, which is what its first bytes say, whatever its suffix."""
    if not path.exists():
        _kind(path)
    try:
        return _File(path=path, base=base, kind=_kind(path))
    except InputError as exc:
        return _File(path=path, base=base, kind="bad", why=str(exc))


def _kind(path: Path) -> Kind:
    where = _text(path)
    with reading(where):
        if not path.is_file() and path.exists():
            raise InputError(f"{where} is not a regular file; copy it into one")
        with path.open("rb") as stream:
            head = stream.read(len(PNG_MAGIC))
    if head.startswith(b"\x93NUMPY"):
        return "npy"
    if head.startswith((b"PK\3\4", b"PK\5\6")):
        return "npz"
    if head.startswith(GZIP_MAGIC) or (head[:2] == b"\0\0" and head[2:3] in _IDX_TYPES):
        return "idx"
    if head.startswith((PNG_MAGIC, JPEG_MAGIC)):
        return "image"
    if not head:
        raise InputError(f"{where} is an empty file; write it again")
    raise InputError(
        f"{where} is of no known kind (it begins with {head!r}); give {_KINDS_IN_WORDS}"
    )


def _name(file: _File, root: Path) -> str:
    return _text(Path(os.path.relpath(file.path, root)))


def _text(path: Path) -> str:
    """The path as printable text, whatever bytes it has."""
    return os.fsencode(path.as_posix()).decode("utf-8", "backslashreplace")

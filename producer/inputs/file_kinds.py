"""What a local file is, by how it begins."""

import gzip
import zipfile
from pathlib import Path
from typing import Literal

from fornada.errors import InputError
from fornada.formats.idx import GZIP_MAGIC, IDX_DTYPES
from fornada.formats.images import HEAD_BYTES, IMAGE_SUFFIXES, is_image
from fornada.formats.looks import look_of
from fornada.formats.tar import HEADER_BYTES, is_tar
from producer.inputs.array_files import reading
from producer.inputs.tables.catalog import TABLES_IN_WORDS, table_kind
from producer.inputs.tables.interface import TableKind
from producer.inputs.tensor_arrays import is_tensor_file

#: `lines` are texts, one a line; a `text` is one, the whole of a file in a folder.
Kind = (
    Literal["npy", "npz", "idx", "safetensors", "image", "tar", "zip", "lines", "text"] | TableKind
)
TEXT_KINDS: frozenset[Kind] = frozenset({"lines", "text"})

KINDS_IN_WORDS = (
    f".npy, .npz, .safetensors, IDX, {TABLES_IN_WORDS}, text (.txt), an image, or a .tar or .zip "
    "of images"
)

_TEXT_SUFFIXES = (".txt", ".txt.gz")
_ZIP_MAGICS = (b"PK\3\4", b"PK\5\6")
#: Beginnings of archives that are not read.
_UNREAD_ARCHIVES = {
    b"BZh": "bzip2",
    b"\xfd7zXZ\0": "xz",
    b"\x28\xb5\x2f\xfd": "Zstandard",
    b"7z\xbc\xaf\x27\x1c": "7-Zip",
    b"Rar!": "RAR",
}
_IDX_TYPES = [bytes([number]) for number in IDX_DTYPES]


def has_image_suffix(name: str) -> bool:
    """Whether a file is named like an image."""
    return name.lower().endswith(IMAGE_SUFFIXES)


def is_named_as_text(name: str) -> bool:
    """Whether a file is named like a text."""
    return name.lower().endswith(_TEXT_SUFFIXES)


def _text_kind(name: str) -> Kind | None:
    return "lines" if is_named_as_text(name) else None


def kind_of(path: Path, *, where: str) -> Kind:
    """What the file is: what its first bytes say, else what its suffix says.

    Raises:
        InputError: It is missing, may not be read, is empty, no regular file, or of no known kind.
        LocalDiskError: The disk failed.
    """
    with reading(where):
        if path.exists() and not path.is_file():
            raise InputError(f"{where} is not a regular file; copy it into one")
        with path.open("rb") as stream:
            head = stream.read(HEADER_BYTES)
        if not head:
            raise InputError(f"{where} is an empty file; write it again")
        kind = _kind_by_head(head) or table_kind(head, path.name) or _text_kind(path.name)
        if head.startswith(_ZIP_MAGICS):
            kind = _kind_of_zip(path)
        elif kind is None and head.startswith(GZIP_MAGIC):
            kind = _kind_of_gzip(path)
    if kind is not None:
        return kind
    if path.suffix.lower() == ".tar" and not any(head):
        raise InputError(f"{where} is an archive that holds no file; write it again")
    for magic, program in _UNREAD_ARCHIVES.items():
        if head.startswith(magic):
            raise InputError(
                f"{where} is compressed by {program}, which is not read; unpack it, or pack it as "
                ".tar.gz or .zip"
            )
    if has_image_suffix(path.name):
        return "image"
    raise InputError(f"{where} is of no known kind ({look_of(head[:8])}); give {KINDS_IN_WORDS}")


def _kind_by_head(head: bytes) -> Kind | None:
    if head.startswith(b"\x93NUMPY"):
        return "npy"
    if is_image(head[:HEAD_BYTES]):
        return "image"
    if is_tensor_file(head):
        return "safetensors"
    if head[:2] == b"\0\0" and head[2:3] in _IDX_TYPES:
        return "idx"
    return "tar" if is_tar(head) else None


def _kind_of_zip(path: Path) -> Kind:
    if path.suffix.lower() == ".npz":
        return "npz"
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    has_images = any(map(has_image_suffix, names))
    return "zip" if has_images or not any(name.endswith(".npy") for name in names) else "npz"


def _kind_of_gzip(path: Path) -> Kind:
    try:
        with gzip.open(path) as stream:
            return "tar" if is_tar(stream.read(HEADER_BYTES)) else "idx"
    except (OSError, EOFError):
        # Whoever reads it says what is wrong.
        return "idx"

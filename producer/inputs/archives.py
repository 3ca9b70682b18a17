"""The image files in a local `.tar`, `.tar.gz` or `.zip`, one at a time."""

import gzip
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from fornada.errors import InputError
from fornada.formats.idx import GZIP_MAGIC
from fornada.formats.images import HEAD_BYTES, is_image
from fornada.formats.tar import tar_members
from producer.inputs.array_files import reading
from producer.inputs.file_kinds import has_image_suffix
from producer.inputs.interface import ImageFile, LeftOut, Selection

#: Images hardly shrink: an archive that grows by more than this, and by a gigabyte, is a bomb.
_MOST_GROWTH = 200
_FREE_GROWTH_BYTES = 1024**3
_IS_ENCRYPTED = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Archive:
    """A local archive of image files."""

    path: Path
    #: `tar`, gzipped or not, or `zip`.
    is_zip: bool
    #: For error messages.
    where: str
    selection: Selection
    left_out: LeftOut
    #: A larger file is an item with an error.
    max_file_bytes: int

    def files(self) -> Iterator[ImageFile]:
        """The image files in it, in order, named by their paths in it; others are left out.

        Raises:
            InputError: It is damaged, expands suspiciously, or has no image.
            LocalDiskError: The disk failed.
        """
        is_empty = True
        with reading(self.where):
            for file in self._zip_files() if self.is_zip else self._tar_files():
                is_empty = False
                yield file
        if is_empty and self.selection.include:
            self.left_out.add(f"{self.where} has no image file that is included")
        elif is_empty:
            raise InputError(f"{self.where} has no image file; give an archive of images")

    def _tar_files(self) -> Iterator[ImageFile]:
        with self.path.open("rb") as packed:
            is_gzip = packed.read(len(GZIP_MAGIC)) == GZIP_MAGIC
        opened: Any = gzip.open if is_gzip else open
        with opened(self.path, "rb") as stream:
            passed_over = noted(self.where, self.selection, self.left_out)
            for member in tar_members(stream, where=self.where, passed_over=passed_over):
                span = member.span
                self._check_growth(span.end_byte)
                name = member.name.removeprefix("./")
                if not self.selection.takes(name):
                    continue
                stream.seek(span.first_byte)
                file = self._file(name, stream, span.size_bytes)
                if file is not None:
                    yield file

    def _zip_files(self) -> Iterator[ImageFile]:
        with zipfile.ZipFile(self.path) as archive:
            total_bytes = 0
            for info in archive.infolist():
                total_bytes += info.file_size
                self._check_growth(total_bytes)
                if info.is_dir() or not self.selection.takes(info.filename):
                    continue
                try:
                    file = self._zip_file(archive, info)
                except InputError as exc:
                    file = ImageFile(name=info.filename, data=b"", error=str(exc))
                if file is not None:
                    yield file

    def _zip_file(self, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> ImageFile | None:
        where = f"{self.where}/{info.filename}"
        if info.flag_bits & _IS_ENCRYPTED:
            raise InputError(f"{where} is encrypted; unpack it")
        # A damaged member says nothing about the others.
        with reading(where), archive.open(info) as stream:
            return self._file(info.filename, stream, info.file_size)

    def _file(self, name: str, stream: IO[bytes], size_bytes: int) -> ImageFile | None:
        """The next `size_bytes` of `stream`; `None` if they are not an image."""
        where = f"{self.where}/{name}"
        head = stream.read(min(size_bytes, HEAD_BYTES))
        if not has_image_suffix(name) and not is_image(head):
            self.left_out.add(f"{where} is not an image file")
            return None
        if size_bytes > self.max_file_bytes:
            return ImageFile(name=name, data=b"", error=too_large(where, self.max_file_bytes))
        data = head + stream.read(size_bytes - len(head))
        if len(data) != size_bytes:
            raise InputError(f"{where} is cut off; write the archive again")
        return ImageFile(name=name, data=data)

    def _check_growth(self, unpacked_bytes: int) -> None:
        packed_bytes = self.path.stat().st_size
        if unpacked_bytes > _MOST_GROWTH * packed_bytes + _FREE_GROWTH_BYTES:
            raise InputError(
                f"{self.where} has {packed_bytes} bytes and expands to {unpacked_bytes} or more; "
                "unpack it, and submit the folder"
            )


def noted(where: str, selection: Selection, left_out: LeftOut) -> Callable[[str, str], None]:
    """What `tar_members` tells of images that it passes over; they are noted as left out."""

    def note(name: str, what: str) -> None:
        path = name.removeprefix("./")
        if has_image_suffix(path) and selection.takes(path):
            left_out.add(f"{where}/{path} is {what}")

    return note


def too_large(where: str, max_file_bytes: int) -> str:
    """Why a file is not read."""
    return (
        f"{where} has more than {max_file_bytes} bytes, the most that a shard takes; save it "
        "smaller, or raise FORNADA_MAX_SHARD_BYTES"
    )

"""Tar archives in the store: one pass over their headers, and nothing is copied."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from fornada.errors import InputError
from fornada.formats.images import HEAD_BYTES, is_image
from fornada.formats.tar import TarMember, tar_members
from fornada.storage.interface import ObjectStore
from producer.inputs.file_kinds import has_image_suffix
from producer.inputs.interface import StoredImages
from producer.inputs.stored_images import FoundObject

#: Enough for a header, where the next one is far.
_HEADER_CHUNK_BYTES = 4 * 1024
#: Where the next header is near, reading on costs less than another request.
_NEAR_BYTES = 1024 * 1024
_CHUNK_BYTES = 4 * 1024 * 1024


def stored_members(
    archive: FoundObject, stored: StoredImages, *, objects: ObjectStore
) -> Iterator[TarMember]:
    """The image files in an archive, in order; others are left out.

    Raises:
        InputError: It is damaged, has no image, or changed meanwhile.
        StoreError: The store cannot be reached or refuses.
    """
    where = archive.where
    stream: Any = _ObjectStream(archive, objects=objects)
    is_empty = True
    selection = stored.selection.within(archive.info.key.rpartition("/")[2])
    for member in tar_members(stream, where=where):
        name = member.name.removeprefix("./")
        if not selection.takes(name):
            continue
        if not has_image_suffix(name):
            stream.seek(member.span.first_byte)
            if not is_image(stream.read(min(HEAD_BYTES, member.span.size_bytes))):
                stored.left_out.add(f"{where}/{name} is not an image file")
                continue
        is_empty = False
        yield replace(member, name=name)
    if is_empty and selection.include:
        stored.left_out.add(f"{where} has no image file that is included")
    elif is_empty:
        raise InputError(f"{where} has no image file; give an archive of images")


class _ObjectStream:
    """An object as a stream, of which a chunk is in memory."""

    def __init__(self, archive: FoundObject, *, objects: ObjectStore) -> None:
        self._info = archive.info
        self._archive = archive
        self._objects = objects
        self._at = 0
        self._chunk = b""
        self._chunk_at = 0

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = offset + (self._at if whence else 0)
        return self._at

    def read(self, size: int) -> bytes:
        size = min(size, max(0, self._info.size_bytes - self._at))
        start = self._at - self._chunk_at
        if not 0 <= start <= start + size <= len(self._chunk):
            self._fill(size)
            start = 0
        data = self._chunk[start : start + size]
        self._at += len(data)
        return data

    def _fill(self, size: int) -> None:
        gap_bytes = self._at - (self._chunk_at + len(self._chunk))
        chunk_bytes = _CHUNK_BYTES if 0 <= gap_bytes < _NEAR_BYTES else _HEADER_CHUNK_BYTES
        if not self._at:
            chunk_bytes = _HEADER_CHUNK_BYTES
        found = self._objects.get_range(
            self._info.key,
            first_byte=self._at,
            size_bytes=min(max(size, chunk_bytes), self._info.size_bytes - self._at),
            bucket=self._archive.bucket,
        )
        if self._info.etag and found.etag and found.etag != self._info.etag:
            raise InputError(f"{self._archive.where} changed while it was read; submit it again")
        self._chunk, self._chunk_at = found.data, self._at

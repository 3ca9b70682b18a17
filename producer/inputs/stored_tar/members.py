"""The image files in tar archives in the store: one pass over their headers, of several ahead."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, Self

from fornada.errors import InputError
from fornada.formats.images import HEAD_BYTES, is_image
from fornada.formats.tar import HEADER_BYTES, TarMember, has_findable_headers, tar_members
from fornada.storage.interface import ObjectStore
from producer.inputs.archives import noted
from producer.inputs.file_kinds import has_image_suffix
from producer.inputs.interface import StoredImages
from producer.inputs.stored_images import FoundObject
from producer.inputs.stored_tar.chains import MOST_CHAINS, NEAR_BYTES, HeaderChains, Piece

#: Enough for the header that an archive begins with, and for what is unlike it.
_HEADER_CHUNK_BYTES = 4 * 1024
#: Archives whose headers cannot be found from the middle: a request for each would take longer.
_NEAR_IN_OLD_BYTES = 1024 * 1024
#: Among small files, each chunk is `_GROWTH` times the one before, up to `_MOST_CHUNK_BYTES`.
_GROWTH, _MOST_CHUNK_BYTES = 32, 4 * 1024 * 1024
#: Bytes of archives that are begun while another one is read; their headers take a thirtieth.
_AHEAD_BYTES = 256 * 1024 * 1024


class StoredArchives:
    """Archives that are read in order; a context manager, which ends what is read ahead.

    Args:
        archives: In the order in which they are read.
        stored: Which of their files are meant; notes those that are left out.
        objects: The store.
    """

    def __init__(
        self, archives: Sequence[FoundObject], stored: StoredImages, *, objects: ObjectStore
    ) -> None:
        #: The next one last.
        self._waiting = list(reversed(archives))
        self._stored = stored
        self._objects = objects
        # Without a thread until the first chain.
        self._pool = ThreadPoolExecutor(MOST_CHAINS)
        self._begun: dict[FoundObject, _ObjectStream] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for stream in self._begun.values():
            stream.chains.close()
        self._pool.shutdown(cancel_futures=True)

    def members(self, archive: FoundObject) -> Iterator[TarMember]:
        """The image files in the next archive, in order; others are left out.

        Raises:
            InputError: It is damaged, has no image, or changed meanwhile.
            StoreError: The store cannot be reached or refuses.
        """
        where, stored = archive.where, self._stored
        stream: Any = self._stream(archive)
        is_empty = True
        selection = stored.selection.within(archive.info.key.rpartition("/")[2])
        passed_over = noted(where, selection, stored.left_out)
        for member in tar_members(stream, where=where, passed_over=passed_over):
            if stream.skips and self._waiting:
                self._begin_ahead()
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
        stream.chains.close()
        del self._begun[archive]
        if is_empty and selection.include:
            stored.left_out.add(f"{where} has no image file that is included")
        elif is_empty:
            raise InputError(f"{where} has no image file; give an archive of images")

    def _stream(self, archive: FoundObject) -> "_ObjectStream":
        if archive not in self._begun:
            self._waiting.pop()
            self._begun[archive] = _ObjectStream(archive, objects=self._objects, pool=self._pool)
        return self._begun[archive]

    def _begin_ahead(self) -> None:
        """Begin further archives: in small ones there is too little to do for all chains."""
        ahead_bytes = sum(each.info.size_bytes for each in list(self._begun)[1:])
        while (
            self._waiting
            and len(self._begun) < MOST_CHAINS
            and ahead_bytes + self._waiting[-1].info.size_bytes <= _AHEAD_BYTES
        ):
            archive = self._waiting[-1]
            ahead_bytes += archive.info.size_bytes
            self._stream(archive).chains.begin(0)


class _ObjectStream:
    """An archive as a stream, of which a chunk is in memory, and what chains have read ahead."""

    def __init__(
        self, archive: FoundObject, *, objects: ObjectStore, pool: ThreadPoolExecutor
    ) -> None:
        self._archive = archive
        self._size_bytes = archive.info.size_bytes
        self._objects = objects
        self._at = 0
        #: Where the last read ended; a header, but for the contents of a few files.
        self._read_end = 0
        self._chunk = Piece(0, b"")
        self._chunk_bytes = 0
        self._near_bytes = NEAR_BYTES
        self.chains = HeaderChains(self._ranged, size_bytes=self._size_bytes, pool=pool)
        #: Whether it has read ahead, and so nothing of large files.
        self.skips = False

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = offset + (self._at if whence else 0)
        return self._at

    def read(self, size: int) -> bytes:
        size = min(size, max(0, self._size_bytes - self._at))
        if size and not self._chunk.holds(self._at, size):
            self._fill(size)
        data = self._chunk.part(self._at, self._at + size).data
        self._at += len(data)
        self._read_end = self._at
        return data

    def _fill(self, size: int) -> None:
        at = self._at
        is_near = 0 <= at - self._read_end < self._near_bytes
        ahead = self.chains.take(at)
        if ahead is None and at and not is_near and self._near_bytes == NEAR_BYTES:
            self.chains.begin(at + -at % HEADER_BYTES)
            ahead = self.chains.take(at)
        if ahead is not None and ahead.holds(at, size):
            self._chunk, self._chunk_bytes, self.skips = ahead, 0, True
        else:
            grown_bytes = min(self._chunk_bytes * _GROWTH, _MOST_CHUNK_BYTES) if is_near else 0
            self._chunk_bytes = max(grown_bytes, _HEADER_CHUNK_BYTES)
            self._chunk = Piece(at, self._ranged(at, max(size, self._chunk_bytes)))
        if not at and not has_findable_headers(self._chunk.data):
            self._near_bytes = _NEAR_IN_OLD_BYTES

    def _ranged(self, first_byte: int, size_bytes: int) -> bytes:
        info = self._archive.info
        found = self._objects.get_range(
            info.key,
            first_byte=first_byte,
            size_bytes=min(size_bytes, self._size_bytes - first_byte),
            bucket=self._archive.bucket,
        )
        if info.etag and found.etag and found.etag != info.etag:
            raise InputError(f"{self._archive.where} changed while it was read; submit it again")
        return found.data

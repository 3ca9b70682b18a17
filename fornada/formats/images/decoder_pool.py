"""Threads that decode images, within bounds of memory for all of them together."""

import contextlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from fornada.errors import InputError, MissingExtraError
from fornada.formats.images.jpeg_segments import stated_size
from fornada.formats.images.kinds import ImageKind, kind_of
from fornada.formats.images.like_tensorflow.gif import largest_frame
from fornada.formats.images.opening import MAX_PIXELS, open_image

#: Measured, with the pixels resized: 4 of most JPEG files, 10 of progressive ones, and 18 of WebP
#: take the most of their kinds.
_JPEG_BYTES_A_PIXEL, _BYTES_A_PIXEL = 10, 18
_WEBP_SIDE = 0x3FFF
#: What the largest image takes.
MAX_DECODING_BYTES = MAX_PIXELS * _BYTES_A_PIXEL


class DecoderPool(ThreadPoolExecutor):
    """Threads that decode images; those for which there is no memory wait.

    Args:
        threads: How many.
        limit_bytes: What all images take together at most; one that takes more is decoded alone.
    """

    def __init__(self, threads: int, *, limit_bytes: int = MAX_DECODING_BYTES) -> None:
        super().__init__(threads, thread_name_prefix="decoder")
        self.thread_count = threads
        self._limit_bytes = limit_bytes
        self._taken_bytes = 0
        self._freed = threading.Condition()
        # Who waits for much is not overtaken by those who need little.
        self._turn = threading.Lock()

    @contextmanager
    def memory_for(self, data: bytes) -> Iterator[None]:
        """Wait until there is memory to decode an image file, and hold it during the block."""
        needed_bytes = min(decoding_bytes(data), self._limit_bytes)
        with self._turn, self._freed:
            self._freed.wait_for(lambda: self._taken_bytes + needed_bytes <= self._limit_bytes)
            self._taken_bytes += needed_bytes
        try:
            yield
        finally:
            with self._freed:
                self._taken_bytes -= needed_bytes
                self._freed.notify_all()


def decoding_bytes(data: bytes) -> int:
    """The most memory that decoding an image file takes, by the size that it declares.

    0 for a file that is refused before its pixels take memory.
    """
    kind = kind_of(data)
    if kind is None:
        return 0
    with contextlib.suppress(InputError, MissingExtraError):
        width, height = _size(data, kind)
        return width * height * (_JPEG_BYTES_A_PIXEL if kind == "JPEG" else _BYTES_A_PIXEL)
    return 0


def _size(data: bytes, kind: ImageKind) -> tuple[int, int]:
    """Width and height.

    Raises:
        InputError, MissingExtraError: As `open_image`.
    """
    if kind == "WebP":
        # Opening it takes memory for its pixels.
        return _webp_size(data)
    if kind == "JPEG" and (stated := stated_size(data)) is not None:
        return stated
    declared = open_image(data, kind, where="image").size
    if kind == "GIF":
        largest = largest_frame(data)
        return max(declared[0], largest[0]), max(declared[1], largest[1])
    return declared


def _webp_size(data: bytes) -> tuple[int, int]:
    match data[12:16]:
        case b"VP8 ":
            sides = int.from_bytes(data[26:28], "little"), int.from_bytes(data[28:30], "little")
            return sides[0] & _WEBP_SIDE, sides[1] & _WEBP_SIDE
        case b"VP8L":
            bits = int.from_bytes(data[21:25], "little")
            return (bits & _WEBP_SIDE) + 1, (bits >> 14 & _WEBP_SIDE) + 1
        case _:
            sides = int.from_bytes(data[24:27], "little"), int.from_bytes(data[27:30], "little")
            return sides[0] + 1, sides[1] + 1

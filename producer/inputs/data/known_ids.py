"""Item ids that came by now, by their digests: the first in memory, more in temporary files."""

import hashlib
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import IO, Self

import numpy as np
from numpy.typing import NDArray

from fornada.errors import DuplicateIdError, LocalDiskError

#: Enough that no two ids have one digest by accident.
_DIGEST_BYTES = 12
#: Ids whose digests are in memory; they take about 30 MB.
_MOST_HELD = 2**18
#: Files, each of which is sorted in memory at the end: 16 MB of 50 million ids.
_FILE_COUNT = 64
_FIRST_BITS = np.uint64(58)

_DIGEST = np.dtype([("high", "<u8"), ("low", "<u4")])
_ENTRY = np.dtype([("high", "<u8"), ("low", "<u4"), ("number", "<i8")])


class KnownIds:
    """The ids of items, of which no two may be the same."""

    def __init__(self) -> None:
        self._held: dict[bytes, int] | None = {}
        self._files: list[IO[bytes]] = []
        self._open = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def add(self, item_ids: Sequence[str], first: int) -> None:
        """Add the ids of the items from number `first` on.

        Raises:
            DuplicateIdError: One came before, which shows here while there are few, and else in
                `check`.
            LocalDiskError: The disk failed.
        """
        digests = [_digest(item_id) for item_id in item_ids]
        if self._held is None:
            self._spool(digests, np.arange(first, first + len(digests)))
            return
        for number, digest in enumerate(digests, first):
            other = self._held.setdefault(digest, number)
            if other != number:
                raise DuplicateIdError.of((other, number), item_id=item_ids[number - first])
        if len(self._held) > _MOST_HELD:
            held, self._held = self._held, None
            with _writing():
                opened = (tempfile.TemporaryFile() for _ in range(_FILE_COUNT))  # noqa: SIM115 - entered
                self._files = [self._open.enter_context(file) for file in opened]
            self._spool(list(held), np.fromiter(held.values(), np.int64, len(held)))

    def check(self) -> None:
        """Check the ids that went to files.

        Raises:
            DuplicateIdError: Two items have one id.
            LocalDiskError: The disk failed.
        """
        for file in self._files:
            with _writing():
                file.seek(0)
                entries = np.frombuffer(file.read(), _ENTRY)
            entries = entries[np.lexsort((entries["number"], entries["low"], entries["high"]))]
            same = entries[["high", "low"]][1:] == entries[["high", "low"]][:-1]
            if same.any():
                at = int(np.flatnonzero(same)[0])
                first, second = entries["number"][at : at + 2].tolist()
                raise DuplicateIdError.of((first, second))

    def _spool(self, digests: Sequence[bytes], numbers: NDArray[np.int64]) -> None:
        entries = np.empty(len(digests), _ENTRY)
        parts = np.frombuffer(b"".join(digests), _DIGEST)
        entries["high"], entries["low"], entries["number"] = parts["high"], parts["low"], numbers
        # All of one id go to one file.
        files = entries["high"] >> _FIRST_BITS
        entries = entries[np.argsort(files, kind="stable")]
        ends = np.cumsum(np.bincount(files.astype(np.int64), minlength=_FILE_COUNT)).tolist()
        with _writing():
            for file, start, end in zip(self._files, [0, *ends], ends, strict=False):
                file.write(entries[start:end].tobytes())


def _digest(item_id: str) -> bytes:
    data = item_id.encode("utf-8", "backslashreplace")
    return hashlib.blake2b(data, digest_size=_DIGEST_BYTES).digest()


@contextmanager
def _writing() -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise LocalDiskError(
            f"ids cannot be kept in {tempfile.gettempdir()} ({exc.strerror or exc}); free space "
            "there, or set TMPDIR to another folder"
        ) from exc

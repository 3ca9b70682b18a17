"""The headers of a tar archive, read ahead of whoever follows them, from several places at once.

A header says where the next one is, so that reading them takes as many round trips as there are
files. Chains begin at several places, at what looks like a header there, and read from header to
header in the background. They only guess. A reader follows the headers from the first one, and uses
what a chain read only where it arrives itself, so a nested archive misleads nobody.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import NamedTuple

from fornada.errors import FornadaError
from fornada.formats.images import HEAD_BYTES
from fornada.formats.tar import (
    HEADER_BYTES,
    MAX_ATTRIBUTES_BYTES,
    find_header,
    has_findable_headers,
    header_step,
)
from fornada.parallel import in_context

#: Headers that are less apart are read together with what is between them. A request takes as much
#: CPU as half a megabyte; but the bytes may be what is short, or paid for.
NEAR_BYTES = 16 * 1024
#: Chains at a time, of all archives of a job: 2,000 headers of a store 20 ms away in 1.3 s.
MOST_CHAINS = 32
#: Of a header, and of the contents behind it: enough to tell an image.
_KEPT_BYTES = HEADER_BYTES + HEAD_BYTES
#: The most that is read where a far header is, for labels and attributes beside each large file.
_MOST_LANDING_BYTES = 4 * 1024
#: Each near header in a row multiplies the bytes of the next read by `_GROWTH`. Past the most, all
#: files are small, and the chain stops: large reads in order are cheaper and hold no memory.
_GROWTH, _MOST_READ_ON_BYTES = 4, 256 * 1024
#: To find its first header, a chain reads most of a file in vain. All of them read no more than a
#: twenty-fifth of the archive so, and less of small files, whose headers take as much again.
_SEARCHED_PART = 25
_LEAST_FILES, _MORE_A_FILE_BYTES = 12, 16 * 1024
_CHAINS_A_LANDING, _DOUBT_BYTES = 3, 64 * 1024
#: What is read at a time to find a header, and the most of all of it, as shares of a file.
_PIECES_OF_A_FILE, _MOST_FILES_SEARCHED = 4, 8
_LEAST_PIECE_BYTES, _MOST_PIECE_BYTES = 4 * 1024, 1024 * 1024
#: How far chains are ahead, and how much of what they have read is held at a time.
_WINDOW_BYTES, _MOST_HELD_BYTES = 256 * 1024 * 1024, 32 * 1024 * 1024


class Piece(NamedTuple):
    """Some bytes of the archive."""

    first_byte: int
    data: bytes

    @property
    def end_byte(self) -> int:
        """Where they end."""
        return self.first_byte + len(self.data)

    def holds(self, first_byte: int, size_bytes: int) -> bool:
        """Whether it has all of these bytes."""
        return self.first_byte <= first_byte <= first_byte + size_bytes <= self.end_byte

    def part(self, first_byte: int, end_byte: int) -> "Piece":
        """What it has of these bytes."""
        start = max(0, first_byte - self.first_byte)
        return Piece(self.first_byte + start, self.data[start : end_byte - self.first_byte])


_NOTHING = Piece(0, b"")


@dataclass(kw_only=True, slots=True, eq=False)
class _Chain:
    """Who reads the headers of a part of the archive, as long as it does."""

    #: All before it has been read, as far as this chain reads it.
    at: int
    #: Where another chain has begun.
    end: int
    #: Whether `at` is that of a header; else one is to be found from there on.
    at_header: bool


class HeaderChains:
    """The chains of an archive, whose headers one thread follows.

    Args:
        read: Reads bytes of the archive, from the first one on, so many; fewer at its end.
        size_bytes: Of the archive.
        pool: Its threads run chains.
    """

    def __init__(
        self, read: Callable[[int, int], bytes], *, size_bytes: int, pool: Executor
    ) -> None:
        self._read = read
        self._size_bytes = size_bytes
        self._pool = pool
        self._changed = threading.Condition()
        self._running: list[_Chain] = []
        #: Where chains have begun, and where the last one ends at the latest.
        self._starts: list[int] = []
        self._window_end = 0
        #: Header -> what was read around it, from the byte before it on.
        self._held: dict[int, Piece] = {}
        self._held_bytes = 0
        #: Requests for a header far from the one before, and how far all of them went.
        self._landings = 0
        self._walked_bytes = 0
        #: What was read to find headers.
        self._searched_bytes = 0
        #: What such a request reads.
        self._landing_bytes = _KEPT_BYTES
        #: How far those have come who follow the headers, and where they wait for a chain.
        self._taken_at = 0
        self._awaited = -1
        self._failed: Exception | None = None
        self._is_closed = False

    def begin(self, at: int) -> None:
        """Read ahead from the header at byte `at`, up to where other chains have begun."""
        with self._changed:
            if at >= self._window_end:
                self._window_end = min(at + _WINDOW_BYTES, self._size_bytes)
                self._forget_before(at)
            end = min((start for start in self._starts if start > at), default=self._window_end)
            self._start(_Chain(at=at, end=end, at_header=True))

    def take(self, at: int) -> Piece | None:
        """What was read around the header at `at`, or the byte before; `None` if nothing was.

        Waits while a chain is on its way there.
        """
        header_at = at + -at % HEADER_BYTES
        with self._changed:
            self._awaited = header_at
            self._changed.wait_for(lambda: not self._may_reach(header_at))
            self._awaited = -1
            if self._failed is not None:
                raise self._failed
            piece = self._held.pop(header_at, None)
            self._held_bytes -= 0 if piece is None else len(piece.data)
            self._taken_at = header_at
        return piece if piece is not None and piece.holds(at, 1) else None

    def close(self) -> None:
        """Stop all chains, each after what it is reading."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def _forget_before(self, at: int) -> None:
        """Drop what was read where nobody came by."""
        self._starts = [start for start in self._starts if start > at]
        self._held = {header_at: piece for header_at, piece in self._held.items() if header_at > at}
        self._held_bytes = sum(len(piece.data) for piece in self._held.values())

    def _may_reach(self, header_at: int) -> bool:
        if header_at in self._held or self._is_closed or self._failed is not None:
            return False
        return any(chain.at <= header_at < chain.end for chain in self._running)

    def _start(self, chain: _Chain) -> None:
        self._running.append(chain)
        self._starts.append(chain.at)
        self._pool.submit(in_context(self._run), chain)

    def _run(self, chain: _Chain) -> None:
        try:
            found = _NOTHING if chain.at_header else self._find(chain)
            if found is not None:
                self._walk(chain, found)
        except FornadaError:
            # Whoever follows the headers reads there, and gets it too.
            pass
        except Exception as exc:
            self._failed = exc
            raise
        finally:
            with self._changed:
                self._running.remove(chain)
                self._changed.notify_all()

    def _find(self, chain: _Chain) -> Piece | None:
        """Bring the chain to the first header; what was read there, or `None` if none is near."""
        file_bytes = self._file_bytes
        piece_bytes = max(file_bytes // _PIECES_OF_A_FILE, _LEAST_PIECE_BYTES)
        last = chain.at + max(_MOST_FILES_SEARCHED * file_bytes, piece_bytes)
        while chain.at < min(last, chain.end) and not self._is_closed:
            piece_bytes = min(piece_bytes, _MOST_PIECE_BYTES)
            piece_bytes -= piece_bytes % HEADER_BYTES
            piece = Piece(chain.at - 1, self._read(chain.at - 1, 1 + piece_bytes))
            with self._changed:
                self._searched_bytes += piece_bytes
            found = find_header(piece.data, first_byte=1)
            self._reach(chain, chain.at + (piece_bytes if found is None else found - 1))
            if found is not None:
                chain.at_header = True
                return piece
            # A large one takes fewer requests, and as large a part of it.
            piece_bytes += piece_bytes // 2
        return None

    def _walk(self, chain: _Chain, piece: Piece) -> None:
        """Read from header to header up to the end of the chain, or one that was read already."""
        at = landed_at = kept_end = chain.at
        asked_bytes = 0
        while self._goes_on(chain, at):
            if not piece.holds(at, min(_KEPT_BYTES, self._size_bytes - at)):
                if piece.data and at - kept_end < NEAR_BYTES:
                    asked_bytes = max(_GROWTH * asked_bytes, self._landing_bytes)
                    if asked_bytes > _MOST_READ_ON_BYTES:
                        return
                else:
                    self._landed(at - landed_at, kept_end - landed_at if asked_bytes else 0)
                    landed_at, asked_bytes = at, self._landing_bytes
                piece = self._piece_at(at, asked_bytes)
            head = piece.part(at, at + HEADER_BYTES).data
            step, kept_bytes = header_step(head), _KEPT_BYTES
            if not (self._walked_bytes or has_findable_headers(head)):
                return
            if step is not None and step.has_attributes:
                kept_bytes = step.size_bytes
                if kept_bytes > MAX_ATTRIBUTES_BYTES:
                    return
                if not piece.holds(at, kept_bytes):
                    piece = self._piece_at(at, kept_bytes + _KEPT_BYTES)
            kept_end = at + kept_bytes
            self._hold(at, piece.part(at - 1, kept_end))
            if step is None:
                return
            at += step.size_bytes

    def _goes_on(self, chain: _Chain, at: int) -> bool:
        self._reach(chain, at)
        has_room = self._held_bytes < _MOST_HELD_BYTES
        return at < chain.end and at not in self._held and has_room and not self._is_closed

    def _reach(self, chain: _Chain, at: int) -> None:
        with self._changed:
            passes = chain.at <= self._awaited < at
            chain.at = at
            if passes:
                self._changed.notify_all()

    def _piece_at(self, at: int, size_bytes: int) -> Piece:
        # With the byte before, where tarfile looks whether the file there is whole.
        first_byte = max(0, at - 1)
        return Piece(first_byte, self._read(first_byte, at - first_byte + size_bytes))

    def _hold(self, at: int, piece: Piece) -> None:
        with self._changed:
            self._held[at] = piece
            self._held_bytes += len(piece.data)

    @property
    def _file_bytes(self) -> int:
        """From one far header to the next, on average; more while few are known."""
        return (self._walked_bytes + _DOUBT_BYTES) // max(1, self._landings)

    def _landed(self, walked_bytes: int, run_bytes: int) -> None:
        """Learn from a chain that came to a far header, and begin others, now that it pays."""
        if not walked_bytes:
            return
        with self._changed:
            self._landings += 1
            self._walked_bytes += walked_bytes
            if 0 < run_bytes <= _MOST_LANDING_BYTES:
                fading = self._landing_bytes - self._landing_bytes // 8
                self._landing_bytes = max(run_bytes, fading)
            # The first few say little of how large files are.
            most = min(MOST_CHAINS, _CHAINS_A_LANDING * self._landings)
            while len(self._running) < most and (self._split() or self._widen()):
                pass

    def _may_search(self) -> bool:
        """Whether a chain may find a header, after those that do."""
        searching = sum(not chain.at_header for chain in self._running)
        searched_bytes = self._searched_bytes + (searching + 1) * self._file_bytes
        return not self._is_closed and searched_bytes <= self._window_end // _SEARCHED_PART

    def _split(self) -> bool:
        """Begin a chain in the middle of the longest part, if that is long enough."""
        widest = max(self._running, key=lambda chain: chain.end - chain.at)
        middle = (widest.at + widest.end) // 2
        middle -= middle % HEADER_BYTES
        least_bytes = _LEAST_FILES * (self._file_bytes + _MORE_A_FILE_BYTES)
        if widest.end - middle < least_bytes or not self._may_search():
            return False
        part = _Chain(at=middle, end=widest.end, at_header=False)
        widest.end = middle
        self._start(part)
        return True

    def _widen(self) -> bool:
        """Begin a chain behind all others, unless that is too far ahead."""
        start = self._window_end - self._window_end % HEADER_BYTES
        end = min(start + _WINDOW_BYTES // 2, self._size_bytes)
        is_far = start > self._taken_at + _WINDOW_BYTES
        if start >= end or is_far or not self._may_search():
            return False
        self._forget_before(self._taken_at)
        self._window_end = end
        self._start(_Chain(at=start, end=end, at_header=False))
        return True

"""How long S3 may take: time limits, and a least pace for what is sent and read."""

import contextlib
import io
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from botocore.exceptions import (
    FlexibleChecksumError,
    IncompleteReadError,
    ReadTimeoutError,
    ResponseStreamingError,
)
from botocore.parsers import ResponseParserError
from urllib3.exceptions import HTTPError

_T = TypeVar("_T")

#: An answer that ended before its end. boto3 tries again until the headers are there, not later.
BROKEN_OFF = (
    FlexibleChecksumError,
    HTTPError,
    IncompleteReadError,
    ResponseParserError,
    ResponseStreamingError,
)
#: Small, since the pace is looked at after each: at 1 KB/s, every 16 s.
_PIECE_BYTES = 16 * 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """How long the store may take. The defaults bound a call without an answer to 75 s."""

    #: Each for as long as the timeouts say; between them boto3 waits, for SlowDown up to 7 s.
    attempts: int = 4
    connect_timeout_s: float = 5.0
    #: Before an answer begins, and for each packet of it.
    read_timeout_s: float = 15.0
    #: Waits before an answer that broke off is asked for again.
    waits_s: tuple[float, ...] = (0.1, 0.5)
    #: A body has this long before its pace counts,
    grace_s: float = 30.0
    #: and then comes at least this fast on average. Read timeouts never see a trickle.
    least_bytes_per_s: float = 16 * 1024
    clock: Callable[[], float] = time.monotonic


class TooSlowError(Exception):
    """A body comes or goes at less than the least pace."""


class ThroughputGuard:
    """Adds up what went over the wire and how long it took, over all tries at one body."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._size_bytes = 0
        self._took_s = 0.0

    def now(self) -> float:
        """When a piece begins."""
        return self._limits.clock()

    def add(self, size_bytes: int, *, since: float) -> None:
        """Count a piece that began at `since` and is through.

        Raises:
            TooSlowError: The grace is over, and the average too low.
        """
        self._took_s += self.now() - since
        self._size_bytes += size_bytes
        if self._took_s <= self._limits.grace_s:
            return
        if self._size_bytes < self._limits.least_bytes_per_s * self._took_s:
            raise TooSlowError(f"{self._size_bytes} bytes in {self._took_s:.0f} s")


class PacedBody:
    """What boto3 sends, which it reads piece by piece; no piece takes longer than a connect may."""

    def __init__(self, body: Any, *, pace: ThroughputGuard) -> None:
        self._body = body
        self._pace = pace
        self._sending_bytes = 0
        self._began = pace.now()

    def read(self, size: int) -> bytes:
        """The next piece. That it is wanted says that the last one is sent."""
        self._pace.add(self._sending_bytes, since=self._began)
        piece: bytes = self._body.read(size)
        self._sending_bytes, self._began = len(piece), self._pace.now()
        return piece

    def seek(self, offset: int) -> None:
        """Go back, to be sent again."""
        self._body.seek(offset)


def pace_puts(client: Any, limits: Limits) -> None:
    """Have `client` give up on a body that the store takes too slowly."""

    def pace_body(request: Any, **_: Any) -> None:
        if request.body is not None:
            pace = request.context.setdefault("fornada_pace", ThroughputGuard(limits))
            request.body = PacedBody(request.body, pace=pace)

    # Here boto3 has signed the request, for which it may have read the body too.
    client.meta.events.register("before-send.s3.PutObject", pace_body)


def read_body(body: Any, *, max_bytes: int | None, pace: ThroughputGuard) -> bytes:
    """The whole of a boto3 body, or at most its first `max_bytes`.

    Raises:
        ResponseStreamingError, IncompleteReadError: It broke off.
        TooSlowError: It trickles.
    """
    # Its buffer is handed out without a copy.
    data = io.BytesIO()
    with contextlib.closing(body):
        while max_bytes is None or data.tell() < max_bytes:
            missing = _PIECE_BYTES if max_bytes is None else max_bytes - data.tell()
            began = pace.now()
            try:
                piece = body.read(min(missing, _PIECE_BYTES))
            except ReadTimeoutError as exc:
                # Not to be taken for the same error before the headers, which boto3 has retried.
                raise ResponseStreamingError(error=exc) from exc
            if not piece:
                break
            data.write(piece)
            pace.add(len(piece), since=began)
    return data.getvalue()


def read_whole(read: Callable[[], _T], limits: Limits) -> _T:
    """What `read` returns, which is called again where the store's answer broke off."""
    for wait_s in limits.waits_s:
        try:
            return read()
        except BROKEN_OFF:
            time.sleep(wait_s)
    return read()

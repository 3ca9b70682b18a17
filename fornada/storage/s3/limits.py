"""Time limits for S3, and the lowest throughput that bodies may have."""

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

#: Errors of a body that ended early. boto3 retries only until it has the headers.
BROKEN_OFF = (
    FlexibleChecksumError,
    HTTPError,
    IncompleteReadError,
    ResponseParserError,
    ResponseStreamingError,
)
#: Bytes of one read; the throughput is checked after each, so at 1 KB/s every 16 s.
_PIECE_BYTES = 16 * 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """How long the store may take. By default a call without an answer fails within 75 s."""

    #: Tries of a request. Between them boto3 waits, after SlowDown up to 7 s.
    attempts: int = 4
    connect_timeout_s: float = 5.0
    #: For the start of an answer, and for each packet of it.
    read_timeout_s: float = 15.0
    #: Waits before a request whose answer broke off is repeated.
    waits_s: tuple[float, ...] = (0.1, 0.5)
    #: How long a body may take before its throughput counts.
    grace_s: float = 30.0
    #: The lowest average throughput of a body; a trickle never reaches the read timeout.
    least_bytes_per_s: float = 16 * 1024
    clock: Callable[[], float] = time.monotonic


class TooSlowError(Exception):
    """The throughput of a body is below the limit."""


class ThroughputGuard:
    """Measures the throughput of one body over all tries."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._size_bytes = 0
        self._took_s = 0.0

    def now(self) -> float:
        """The time at which a piece starts."""
        return self._limits.clock()

    def add(self, size_bytes: int, *, since: float) -> None:
        """Count a finished piece that started at `since`.

        Raises:
            TooSlowError: The grace period is over and the average is too low.
        """
        self._took_s += self.now() - since
        self._size_bytes += size_bytes
        if self._took_s <= self._limits.grace_s:
            return
        if self._size_bytes < self._limits.least_bytes_per_s * self._took_s:
            raise TooSlowError(f"{self._size_bytes} bytes in {self._took_s:.0f} s")


class PacedBody:
    """The body of a put; boto3 reads it in pieces, each sent within a connect timeout."""

    def __init__(self, body: Any, *, pace: ThroughputGuard) -> None:
        self._body = body
        self._pace = pace
        self._sending_bytes = 0
        self._began = pace.now()

    def read(self, size: int) -> bytes:
        """The next piece; asking for it means that the last one has been sent."""
        self._pace.add(self._sending_bytes, since=self._began)
        piece: bytes = self._body.read(size)
        self._sending_bytes, self._began = len(piece), self._pace.now()
        return piece

    def seek(self, offset: int) -> None:
        """Rewind, to send the body again."""
        self._body.seek(offset)


def pace_puts(client: Any, limits: Limits) -> None:
    """Make `client` give up on a body that the store accepts too slowly."""

    def pace_body(request: Any, **_: Any) -> None:
        if request.body is not None:
            pace = request.context.setdefault("fornada_pace", ThroughputGuard(limits))
            request.body = PacedBody(request.body, pace=pace)

    # By now boto3 has signed the request, for which it may have read the body.
    for operation in ("PutObject", "UploadPart"):
        client.meta.events.register(f"before-send.s3.{operation}", pace_body)


def read_body(body: Any, *, max_bytes: int | None, pace: ThroughputGuard) -> bytes:
    """A boto3 body, or its first `max_bytes`.

    Raises:
        ResponseStreamingError, IncompleteReadError: The body broke off.
        TooSlowError: The throughput is too low.
    """
    # Returns its buffer without a copy.
    data = io.BytesIO()
    copy_body(body, data.write, max_bytes=max_bytes, pace=pace)
    return data.getvalue()


def copy_body(
    body: Any,
    write: Callable[[bytes], object],
    *,
    max_bytes: int | None,
    pace: ThroughputGuard,
) -> None:
    """Pass a boto3 body, or its first `max_bytes`, to `write`; raises as `read_body`."""
    size_bytes = 0
    with contextlib.closing(body):
        while max_bytes is None or size_bytes < max_bytes:
            missing = _PIECE_BYTES if max_bytes is None else max_bytes - size_bytes
            began = pace.now()
            try:
                piece = body.read(min(missing, _PIECE_BYTES))
            except ReadTimeoutError as exc:
                # Tells it from the same error before the headers, which boto3 has already retried.
                raise ResponseStreamingError(error=exc) from exc
            if not piece:
                break
            write(piece)
            size_bytes += len(piece)
            pace.add(len(piece), since=began)


def read_whole(read: Callable[[], _T], limits: Limits) -> _T:
    """The result of `read`, which is repeated if the store's answer breaks off."""
    for wait_s in limits.waits_s:
        try:
            return read()
        except BROKEN_OFF:
            time.sleep(wait_s)
    return read()

"""The body of a request for a prediction, within its limit."""

from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager

from fastapi import Request
from starlette.datastructures import Headers

from fornada.errors import FornadaError
from gateway.http.body_limits import MediaTypeError, TooLargeError

#: Of a body. A call has a megabyte of items, which are larger as JSON or as photographs.
MAX_BODY_BYTES = 16 * 1024 * 1024
#: Of a call; each costs time, however small it is.
MOST_ITEMS = 65_536


#: Large bodies that a gateway has in memory at a time.
MOST_LARGE_BODIES = 16
#: A larger body is read in a thread, and counted.
LARGE_BYTES = 64 * 1024


class NotAcceptableError(FornadaError, fault="caller", http_status=406):
    """An answer cannot be written as the request wants it."""


class BusyError(FornadaError, fault="transient"):
    """The gateway has too much in memory for now; the same request may pass later."""


class LargeBodies:
    """Counts the large bodies in memory, of one event loop; more of them are refused."""

    def __init__(self, most: int = MOST_LARGE_BODIES) -> None:
        self._left = most

    @contextmanager
    def room_for(self, headers: Headers) -> Iterator[None]:
        """Hold room for a body, if it is large or does not say, during the block.

        Raises:
            BusyError: There is none.
        """
        declared = headers.get("content-length", "")
        if declared.isdecimal() and int(declared) <= LARGE_BYTES:
            yield
            return
        if not self._left:
            raise BusyError(
                f"the gateway has {MOST_LARGE_BODIES} bodies of over {LARGE_BYTES} bytes in memory "
                "already; send it again"
            )
        self._left -= 1
        try:
            yield
        finally:
            self._left += 1


async def read_body(request: Request) -> bytes:
    """The whole body.

    Raises:
        TooLargeError: It is too large.
    """
    parts = [part async for part in body_parts(request)]
    return parts[0] if len(parts) == 1 else b"".join(parts)


async def body_parts(request: Request) -> AsyncGenerator[bytes, None]:
    """The body as it comes.

    Raises:
        TooLargeError: It is too large; what it declares is looked at first.
    """
    declared = request.headers.get("content-length", "")
    _check_size(int(declared) if declared.isdecimal() else 0)
    if request.headers.get("content-encoding", "identity") != "identity":
        raise MediaTypeError("the body is compressed; send it as it is")
    size_bytes = 0
    async for part in request.stream():
        size_bytes += len(part)
        _check_size(size_bytes)
        if part:
            yield part


def check_item_count(count: int, *, where: str) -> None:
    """Check the number of items of a prediction.

    Raises:
        TooLargeError: It may not.
    """
    if count > MOST_ITEMS:
        raise TooLargeError(
            f"{where} has {count} items, and a prediction may have {MOST_ITEMS}; send fewer, or "
            "submit a job"
        )


def _check_size(size_bytes: int) -> None:
    if size_bytes > MAX_BODY_BYTES:
        raise TooLargeError(
            f"the body has {size_bytes} bytes or more, and one of a prediction may have "
            f"{MAX_BODY_BYTES}; send fewer items, or submit a job"
        )
